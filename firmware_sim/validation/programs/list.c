/* A linked list, walked and reversed: each address comes from the load before (load-use at its worst). */
#include "bench.h"

struct node {
    struct node *next;
    uint32_t value;
};
static struct node nodes[256], *head;

void prepare(void) {
    for (uint32_t i = 0; i < 256; i++) {
        nodes[i].value = i * 2654435761u;
        nodes[i].next = i < 255 ? &nodes[(i * 77 + 13) & 255] : 0;
    }
    head = &nodes[0];
    for (uint32_t i = 0; i < 255; i++) nodes[(i * 77) & 255].next = &nodes[((i + 1) * 77) & 255];
    nodes[(255 * 77) & 255].next = 0;
}

uint32_t program(void) {
    uint32_t checksum = 0;
    for (int repeat = 0; repeat < 4; repeat++) {
        for (const struct node *n = head; n; n = n->next) checksum = (checksum << 1 | checksum >> 31) ^ n->value;
        struct node *reversed = 0;
        while (head) {
            struct node *next = head->next;
            head->next = reversed;
            reversed = head;
            head = next;
        }
        head = reversed;
    }
    return checksum;
}
