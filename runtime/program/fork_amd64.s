#include "textflag.h"
#include "funcdata.h"

// func vfork(args *cloneArgs, size uintptr, im *image) (pid, errno uintptr)
//
// The child runs below this frame, on its parent's stack, and never returns:
// when the parent goes on, its frame and all above it are as it left them.
TEXT ·vfork(SB), NOSPLIT, $8-40
	NO_LOCAL_POINTERS
	MOVQ args+0(FP), DI
	MOVQ size+8(FP), SI
	MOVL $435, AX // clone3
	SYSCALL
	CMPQ AX, $0xfffffffffffff001
	JCC  failed
	TESTQ AX, AX
	JEQ  child
	MOVQ AX, pid+24(FP)
	MOVQ $0, errno+32(FP)
	RET

failed:
	NEGQ AX
	MOVQ $0, pid+24(FP)
	MOVQ AX, errno+32(FP)
	RET

child:
	MOVQ im+16(FP), AX
	MOVQ AX, 0(SP)
	CALL ·walk(SB)
	INT  $3
