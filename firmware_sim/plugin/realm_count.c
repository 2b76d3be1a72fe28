/* QEMU TCG plugin: how often each block of instructions ran, and which block followed it, by firmware region and visit.
 *
 * QEMU translates guest code in blocks that have one entry and one exit. For each block this plugin counts executions, and for each pair
 * of blocks how often the second followed the first, separately for the region that the firmware was in. Regions begin when a marker
 * function is entered (firmware/regions.c). No cycles are computed here: firmware_sim/profile.py does that from the counts.
 *
 * Arguments: profile=<file>, visits=<file>, and one <region name>=<address of its marker> each, in the order of the regions' indices.
 * What runs before the first marker belongs to no region and is not counted. With crossings=on, data accesses across a word boundary
 * are counted too, at a call an access; they are not divided by visit.
 *
 * The profile is text, one record a line:
 *   realm-count 3
 *   region <index> <name> <visits> <instructions>
 *   block <counter> <address> <instructions> <their bytes> <executions in region 0> <... in region 1> ...
 *   edge <counter> <block's counter> <next block's counter> <count in region 0> ...
 *   crossing <block's counter> <accesses across a word boundary in region 0> ...
 *   end
 *
 * A visit lasts from a marker to the next. How often each block and edge ran in it goes to the second file, as the difference from the
 * visit to the same region before: most visits take the same way, so that few counters differ. It holds records of four little-endian
 * 32-bit words: region, visit (from 0), counter, difference (signed).
 *
 * Debian ships no plugin header: the declarations below are the part of QEMU's plugin API that is used (docs/devel/tcg-plugins), in the
 * version REALM_PLUGIN_API, one of INTERFACES in __init__.py. A QEMU refuses plugins outside the range of versions that it knows. What
 * is used here changed with version 3 (instructions are copied) and with version 7 (callbacks have data instead of the plugin's id).
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
typedef void (*tb_executed)(unsigned int cpu, void *data);
typedef uint32_t qemu_plugin_meminfo_t;
enum qemu_plugin_mem_rw { QEMU_PLUGIN_MEM_RW = 3 };
typedef void (*memory_accessed)(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address, void *data);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, tb_executed callback, enum qemu_plugin_cb_flags flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, tb_executed callback, enum qemu_plugin_cb_flags flags, void *data);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, memory_accessed callback, enum qemu_plugin_cb_flags flags,
                                      enum qemu_plugin_mem_rw which, void *data);
unsigned int qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t info);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
EXPORT int qemu_plugin_version = REALM_PLUGIN_API;

enum { MAX_REGIONS = 6, BUCKETS = 4096, NO_REGION = -1 };

struct counter {
    uint32_t now;               /* in this visit */
    uint32_t last[MAX_REGIONS]; /* in the visit to the region before */
    uint32_t index;
    unsigned member; /* bit r: in the list of region r */
    uint64_t total[MAX_REGIONS];
};

struct region {
    char name[32];
    uint64_t marker, visits, instructions;
    struct counter **counters; /* all that ever ran in this region */
    size_t n_counters, room;
};

struct edge {
    struct counter counter;
    struct block *to;
    struct edge *next;
};

struct block {
    struct counter counter;
    uint64_t address;
    size_t bytes, instructions;
    uint8_t *code;
    int marks; /* the region that begins here, or NO_REGION */
    uint64_t crossings[MAX_REGIONS];
    struct edge *edges, *last_edge;
    struct block *next_in_bucket, *next;
};

static struct region regions[MAX_REGIONS];
static int n_regions;
static struct block *buckets[BUCKETS], *first_block, **append_block = &first_block;
static uint32_t n_counters;
static FILE *profile, *visits;
static int count_crossings;

static int current = NO_REGION;
static uint64_t visit_instructions;
static struct block *previous; /* NULL at the start of a visit: markers have no edges */
static const struct block *unfinished;

static void *allocate(size_t bytes) {
    void *memory = calloc(1, bytes);
    if (!memory) {
        fprintf(stderr, "realm_count: out of memory\n");
        exit(1);
    }
    return memory;
}

/* Writes what differs from the visit before and begins to count anew. */
static void end_visit(void) {
    if (current == NO_REGION) return;
    struct region *r = &regions[current];
    for (size_t i = 0; i < r->n_counters; i++) {
        struct counter *c = r->counters[i];
        if (c->now != c->last[current]) {
            const uint32_t record[4] = {(uint32_t)current, (uint32_t)r->visits, c->index, c->now - c->last[current]};
            fwrite(record, sizeof record, 1, visits);
            c->last[current] = c->now;
        }
        c->total[current] += c->now;
        c->now = 0;
    }
    r->visits++;
    r->instructions += visit_instructions;
}

static void join(struct counter *c) {
    struct region *r = &regions[current];
    c->member |= 1u << current;
    if (r->n_counters == r->room) {
        r->room = r->room ? 2 * r->room : 1024;
        r->counters = realloc(r->counters, r->room * sizeof *r->counters);
        if (!r->counters) {
            fprintf(stderr, "realm_count: out of memory\n");
            exit(1);
        }
    }
    r->counters[r->n_counters++] = c;
}

static inline void count(struct counter *c) {
    if (!(c->member & 1u << current)) join(c);
    c->now++;
}

static void count_edge(struct block *from, struct block *to) {
    struct edge *e = from->last_edge; /* loops take the same edge again and again */
    if (!e || e->to != to) {
        for (e = from->edges; e && e->to != to; e = e->next) {
        }
        if (!e) {
            e = allocate(sizeof *e);
            e->counter.index = n_counters++;
            e->to = to;
            e->next = from->edges;
            from->edges = e;
        }
        from->last_edge = e;
    }
    count(&e->counter);
}

static void on_last(unsigned int cpu, void *data) {
    (void)cpu;
    (void)data;
    unfinished = NULL;
}

/* QEMU 8.2 and later leave a block at an access to a device, make the access alone, without a call, and go on behind it with another block.
 * The first was counted as a whole, so that the rest of it must not be counted again. (Where an interrupt may come in between, instructions
 * are stepped singly.) */
static int goes_on(const struct block *b) {
    const struct block *cut = unfinished;
    unfinished = b->instructions > 1 ? b : NULL;
    return cut && b->address > cut->address && b->address + b->bytes == cut->address + cut->bytes;
}

static void on_block(unsigned int cpu, void *data) {
    (void)cpu;
    struct block *b = data;
    if (goes_on(b)) return;
    if (b->marks != NO_REGION) {
        end_visit();
        current = b->marks;
        visit_instructions = 0;
        previous = NULL;
        return;
    }
    if (current == NO_REGION) return;
    count(&b->counter);
    visit_instructions += b->instructions;
    if (previous) count_edge(previous, b);
    previous = b;
}

#if REALM_PLUGIN_API >= 3
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *to, size_t room);
static void copy_code(uint8_t *to, const struct qemu_plugin_insn *insn, size_t bytes) { qemu_plugin_insn_data(insn, to, bytes); }
#else
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
static void copy_code(uint8_t *to, const struct qemu_plugin_insn *insn, size_t bytes) { memcpy(to, qemu_plugin_insn_data(insn), bytes); }
#endif

/* QEMU translates the same code again after its cache was flushed: the same address and bytes are the same block. */
static struct block *block_of(const struct qemu_plugin_tb *tb) {
    uint8_t code[4096];
    size_t bytes = 0;
    const size_t n = qemu_plugin_tb_n_insns(tb);
    const uint64_t address = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, 0));
    for (size_t i = 0; i < n; i++) {
        const struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        size_t size = qemu_plugin_insn_size(insn);
        /* On ARM QEMU looks at the halfword after an instruction that ends two bytes before a page's end, and adds it to that
         * instruction's bytes. The next address tells the true size; for the last instruction the decoder has to. */
        if (i + 1 < n) size = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, i + 1)) - qemu_plugin_insn_vaddr(insn);
        if (bytes + size > sizeof code) {
            fprintf(stderr, "realm_count: block at %" PRIx64 " is longer than a page\n", address);
            exit(1);
        }
        copy_code(code + bytes, insn, size);
        bytes += size;
    }
    struct block **bucket = &buckets[(address >> 1) % BUCKETS];
    for (struct block *b = *bucket; b; b = b->next_in_bucket)
        if (b->address == address && b->bytes == bytes && !memcmp(b->code, code, bytes)) return b;
    struct block *b = allocate(sizeof *b);
    b->address = address;
    b->bytes = bytes;
    b->instructions = n;
    b->counter.index = n_counters++;
    b->code = allocate(bytes);
    memcpy(b->code, code, bytes);
    b->marks = NO_REGION;
    for (int r = 0; r < n_regions; r++)
        if (regions[r].marker == address) b->marks = r;
    b->next_in_bucket = *bucket;
    *bucket = b;
    *append_block = b;
    append_block = &b->next;
    return b;
}

static void on_memory(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address, void *data) {
    (void)cpu;
    struct block *b = data;
    const unsigned bytes = 1u << qemu_plugin_mem_size_shift(info); /* two words at once: QEMU 8 and later, where 7.2 makes two accesses */
    if (current != NO_REGION && (address & 3) + (bytes < 4 ? bytes : 4) > 4) b->crossings[current]++;
}

static void instrument(struct qemu_plugin_tb *tb) {
    struct block *b = block_of(tb);
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, b);
    if (b->instructions > 1)
        qemu_plugin_register_vcpu_insn_exec_cb(qemu_plugin_tb_get_insn(tb, b->instructions - 1), on_last, QEMU_PLUGIN_CB_NO_REGS, NULL);
    for (size_t i = 0; count_crossings && i < b->instructions; i++)
        qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i), on_memory, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, b);
}

static void print_totals(const struct counter *c) {
    for (int r = 0; r < n_regions; r++) fprintf(profile, " %" PRIu64, c->total[r]);
    fputc('\n', profile);
}

static void write_profile(void) {
    end_visit();
    fprintf(profile, "realm-count 3\n");
    for (int r = 0; r < n_regions; r++) {
        const struct region *x = &regions[r];
        fprintf(profile, "region %d %s %" PRIu64 " %" PRIu64 "\n", r, x->name, x->visits, x->instructions);
    }
    for (const struct block *b = first_block; b; b = b->next) {
        fprintf(profile, "block %" PRIu32 " %" PRIx64 " %zu ", b->counter.index, b->address, b->instructions);
        for (size_t i = 0; i < b->bytes; i++) fprintf(profile, "%02x", b->code[i]);
        print_totals(&b->counter);
    }
    for (const struct block *b = first_block; b; b = b->next) {
        for (const struct edge *e = b->edges; e; e = e->next) {
            fprintf(profile, "edge %" PRIu32 " %" PRIu32 " %" PRIu32, e->counter.index, b->counter.index, e->to->counter.index);
            print_totals(&e->counter);
        }
    }
    for (const struct block *b = first_block; b && count_crossings; b = b->next) {
        fprintf(profile, "crossing %" PRIu32, b->counter.index);
        for (int r = 0; r < n_regions; r++) fprintf(profile, " %" PRIu64, b->crossings[r]);
        fputc('\n', profile);
    }
    fprintf(profile, "end\n");
    const int broken = ferror(visits);
    if (fclose(visits) || broken || fclose(profile)) fprintf(stderr, "realm_count: the profile could not be written\n");
}

#if REALM_PLUGIN_API >= 7
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*callback)(struct qemu_plugin_tb *tb, void *data), void *data);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*callback)(void *data), void *data);

static void on_translation(struct qemu_plugin_tb *tb, void *data) {
    (void)data;
    instrument(tb);
}

static void on_exit_write(void *data) {
    (void)data;
    write_profile();
}

static void register_callbacks(qemu_plugin_id_t id) {
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation, NULL);
    qemu_plugin_register_atexit_cb(id, on_exit_write, NULL);
}
#else
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*callback)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*callback)(qemu_plugin_id_t id, void *data), void *data);

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    (void)id;
    instrument(tb);
}

static void on_exit_write(qemu_plugin_id_t id, void *data) {
    (void)id;
    (void)data;
    write_profile();
}

static void register_callbacks(qemu_plugin_id_t id) {
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_atexit_cb(id, on_exit_write, NULL);
}
#endif

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
    (void)info;
    for (int i = 0; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value) {
            fprintf(stderr, "realm_count: argument '%s' is not of the form name=value\n", argv[i]);
            return 1;
        }
        *value++ = 0;
        if (!strcmp(argv[i], "profile")) {
            profile = fopen(value, "w");
        } else if (!strcmp(argv[i], "visits")) {
            visits = fopen(value, "wb");
        } else if (!strcmp(argv[i], "crossings")) {
            count_crossings = !strcmp(value, "on");
        } else if (n_regions < MAX_REGIONS && strlen(argv[i]) < sizeof regions[0].name) {
            struct region *r = &regions[n_regions++];
            strcpy(r->name, argv[i]);
            r->marker = strtoull(value, NULL, 16);
        } else {
            fprintf(stderr, "realm_count: region '%s' is one too many, or its name is too long\n", argv[i]);
            return 1;
        }
    }
    if (!profile || !visits || !n_regions) {
        fprintf(stderr, "realm_count: needs profile= and visits=<file that can be written> and at least one region\n");
        return 1;
    }
    register_callbacks(id);
    return 0;
}
