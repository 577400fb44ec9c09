package container

const pauseMachine = 62 // EM_X86_64

var pauseCode = []byte{
	0xb8, 0x22, 0x00, 0x00, 0x00, // again: mov eax, 34 (pause)
	0x0f, 0x05, //                          syscall
	0xeb, 0xf7, //                          jmp again
}
