/* A binary heap of structures: sifting up and down, indices that double, compares of two members. */
#include "bench.h"

enum { ITEMS = 90 };

struct item {
    uint16_t due;
    int8_t rank;
    uint32_t load;
};

static struct item heap[ITEMS + 1];
static uint16_t times[ITEMS];

void prepare(void) {
    uint32_t random = 41;
    for (int i = 0; i < ITEMS; i++) times[i] = (uint16_t)(next_random(&random) >> 20);
}

static int before(const struct item *a, const struct item *b) { return a->due != b->due ? a->due < b->due : a->rank > b->rank; }

static void push(uint32_t *count, struct item item) {
    uint32_t at = ++*count;
    for (; at > 1 && before(&item, &heap[at / 2]); at /= 2) heap[at] = heap[at / 2];
    heap[at] = item;
}

static struct item pop(uint32_t *count) {
    const struct item top = heap[1], last = heap[(*count)--];
    uint32_t at = 1;
    for (uint32_t child; (child = 2 * at) <= *count; at = child) {
        if (child < *count && before(&heap[child + 1], &heap[child])) child++;
        if (!before(&heap[child], &last)) break;
        heap[at] = heap[child];
    }
    heap[at] = last;
    return top;
}

uint32_t program(void) {
    uint32_t count = 0, checksum = 0;
    for (uint32_t i = 0; i < ITEMS; i++) {
        push(&count, (struct item){times[i], (int8_t)(i * 37), i * times[i]});
        if (i % 3 == 2) checksum = checksum * 5 + pop(&count).load;
    }
    while (count) {
        const struct item item = pop(&count);
        checksum = (checksum << 3 | checksum >> 29) ^ (item.due + item.load);
    }
    return checksum;
}
