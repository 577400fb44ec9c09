#include "textflag.h"
#include "funcdata.h"

// func vfork(args *cloneArgs, size uintptr, im *image) (pid, errno uintptr)
//
// The child runs below this frame, on its parent's stack, and never returns:
// when the parent goes on, its frame and all above it are as it left them.
TEXT ·vfork(SB), NOSPLIT, $16-40
	NO_LOCAL_POINTERS
	MOVD args+0(FP), R0
	MOVD size+8(FP), R1
	MOVD $435, R8 // clone3
	SVC
	CMN  $4095, R0
	BCS  failed
	CBZ  R0, child
	MOVD R0, pid+24(FP)
	MOVD ZR, errno+32(FP)
	RET

failed:
	NEG  R0, R0
	MOVD ZR, pid+24(FP)
	MOVD R0, errno+32(FP)
	RET

child:
	MOVD im+16(FP), R0
	MOVD R0, 8(RSP)
	CALL ·walk(SB)
	BRK
