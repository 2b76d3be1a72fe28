# Start and end of a program on an RV32 core: stack, .data, .bss, main, and exit by semihosting.
    .section .start, "ax"
    .globl reset
    .type reset, @function
reset:
    la sp, stack_top
    la t0, fault
    csrw mtvec, t0
    la a0, data_load
    la a1, data_start
    la a2, data_end
1:  bgeu a1, a2, 2f
    lw t0, 0(a0)
    sw t0, 0(a1)
    addi a0, a0, 4
    addi a1, a1, 4
    j 1b
2:  la a1, bss_start
    la a2, bss_end
3:  bgeu a1, a2, 4f
    sw zero, 0(a1)
    addi a1, a1, 4
    j 3b
4:  call main
    j leave
    .size reset, . - reset

    .balign 4
    .type fault, @function
fault:
    li a0, 3
    .size fault, . - fault      # goes on into leave

    .type leave, @function
leave:                          # with status a0
    addi sp, sp, -16
    sw a0, 4(sp)
    li t0, 0x20026              # ADP_Stopped_ApplicationExit
    sw t0, 0(sp)
    mv a1, sp
    li a0, 0x20                 # SYS_EXIT_EXTENDED
    .option push
    .option norvc
    .balign 16
    slli x0, x0, 0x1f           # these three say to the simulator that it is a call
    ebreak
    srai x0, x0, 7
    .option pop
5:  j 5b
    .size leave, . - leave
