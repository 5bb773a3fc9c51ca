/* First byte of every image. The machine has set rdi, rsi and rsp as the C calling convention wants them. */
        .section .text.start, "ax"
        .globl  _start
_start:
        call    guest_main
park:
        pause
        jmp     park

        .section .note.GNU-stack, "", @progbits
