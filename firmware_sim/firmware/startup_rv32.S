/* Reset of an RV32 core in machine mode: trap vector, code in RAM, .data, .bss, painted stack, main. */
    .section .vectors, "ax"
    .globl realm_reset
realm_reset:
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    la sp, realm_stack_top
    la t0, trap
    csrw mtvec, t0

    la a0, realm_ram_text_load
    la a1, realm_ram_text_start
    la a2, realm_ram_text_end
    call copy
    .option push
    .option arch, +zifencei
    fence.i
    .option pop
    la a0, realm_data_load
    la a1, realm_data_start
    la a2, realm_data_end
    call copy
    la a0, realm_bss_start
    la a1, realm_bss_end
    li t0, 0
    call fill
    la a0, realm_stack_bottom
    mv a1, sp
    li t0, 0xA5A5A5A5 /* STACK_PAINT of board_sim.c */
    call fill
    call main
    j trap /* main does not return */

copy: /* words from a0 on become [a1, a2) */
    bgeu a1, a2, copied
    lw t0, 0(a0)
    sw t0, 0(a1)
    addi a0, a0, 4
    addi a1, a1, 4
    j copy
copied:
    ret

fill: /* words of [a0, a1) become t0 */
    bgeu a0, a1, filled
    sw t0, 0(a0)
    addi a0, a0, 4
    j fill
filled:
    ret

    .balign 4 /* mtvec needs it */
trap:
    call board_fault
