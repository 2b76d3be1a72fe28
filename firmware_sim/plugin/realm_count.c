/* QEMU TCG plugin: how often each block of instructions ran, and which block followed it, by firmware region.
 *
 * QEMU translates guest code in blocks that have one entry and one exit. For each block this plugin counts executions, and for each pair
 * of blocks how often the second followed the first, separately for the region that the firmware was in. Regions begin when a marker
 * function is entered (firmware/regions.c). No cycles are computed here: firmware_sim/profile.py does that from the counts.
 *
 * Arguments: profile=<file>, and one <region name>=<address of its marker> each, in the order of the regions' indices.
 * What runs before the first marker belongs to no region and is not counted. With crossings=on, data accesses across a word boundary
 * are counted too, at a call an access.
 *
 * The profile is text, one record a line:
 *   realm-count 2
 *   region <index> <name> <visits> <instructions> <min instructions a visit> <max instructions a visit>
 *   block <index> <address> <instructions> <their bytes> <executions in region 0> <... in region 1> ...
 *   edge <block> <next block> <count in region 0> ...
 *   crossing <block> <accesses across a word boundary in region 0> ...
 *   end
 *
 * Debian ships no plugin header: the declarations below are the part of QEMU's plugin API, version 1, that is used
 * (docs/devel/tcg-plugins).
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
typedef void (*tb_translated)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*tb_executed)(unsigned int cpu, void *data);
typedef uint32_t qemu_plugin_meminfo_t;
enum qemu_plugin_mem_rw { QEMU_PLUGIN_MEM_RW = 3 };
typedef void (*memory_accessed)(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address, void *data);
typedef void (*at_exit)(qemu_plugin_id_t id, void *data);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, tb_translated callback);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, tb_executed callback, enum qemu_plugin_cb_flags flags, void *data);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, memory_accessed callback, enum qemu_plugin_cb_flags flags,
                                      enum qemu_plugin_mem_rw which, void *data);
unsigned int qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t info);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, at_exit callback, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
EXPORT int qemu_plugin_version = 1;

enum { MAX_REGIONS = 5, BUCKETS = 4096, NO_REGION = -1 };

struct region {
    char name[32];
    uint64_t marker, visits, instructions, min, max;
};

struct edge {
    struct block *to;
    uint64_t count[MAX_REGIONS];
    struct edge *next;
};

struct block {
    uint64_t address;
    size_t bytes, instructions, index;
    uint8_t *code;
    int marks; /* the region that begins here, or NO_REGION */
    uint64_t count[MAX_REGIONS], crossings[MAX_REGIONS];
    struct edge *edges, *last_edge;
    struct block *next_in_bucket, *next;
};

static struct region regions[MAX_REGIONS];
static int n_regions;
static struct block *buckets[BUCKETS], *first_block, **append_block = &first_block;
static size_t n_blocks;
static FILE *profile;
static int count_crossings;

static int current = NO_REGION;
static uint64_t visit_instructions;
static struct block *previous; /* NULL at the start of a visit: markers have no edges */

static void *allocate(size_t bytes) {
    void *memory = calloc(1, bytes);
    if (!memory) {
        fprintf(stderr, "realm_count: out of memory\n");
        exit(1);
    }
    return memory;
}

static void end_visit(void) {
    if (current == NO_REGION) return;
    struct region *r = &regions[current];
    r->visits++;
    r->instructions += visit_instructions;
    if (visit_instructions < r->min) r->min = visit_instructions;
    if (visit_instructions > r->max) r->max = visit_instructions;
}

static void count_edge(struct block *from, struct block *to) {
    struct edge *e = from->last_edge; /* loops take the same edge again and again */
    if (!e || e->to != to) {
        for (e = from->edges; e && e->to != to; e = e->next) {
        }
        if (!e) {
            e = allocate(sizeof *e);
            e->to = to;
            e->next = from->edges;
            from->edges = e;
        }
        from->last_edge = e;
    }
    e->count[current]++;
}

static void on_block(unsigned int cpu, void *data) {
    (void)cpu;
    struct block *b = data;
    if (b->marks != NO_REGION) {
        end_visit();
        current = b->marks;
        visit_instructions = 0;
        previous = NULL;
        return;
    }
    if (current == NO_REGION) return;
    b->count[current]++;
    visit_instructions += b->instructions;
    if (previous) count_edge(previous, b);
    previous = b;
}

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
        memcpy(code + bytes, qemu_plugin_insn_data(insn), size);
        bytes += size;
    }
    struct block **bucket = &buckets[(address >> 1) % BUCKETS];
    for (struct block *b = *bucket; b; b = b->next_in_bucket)
        if (b->address == address && b->bytes == bytes && !memcmp(b->code, code, bytes)) return b;
    struct block *b = allocate(sizeof *b);
    b->address = address;
    b->bytes = bytes;
    b->instructions = n;
    b->index = n_blocks++;
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
    if (current != NO_REGION && (address & 3) + (1u << qemu_plugin_mem_size_shift(info)) > 4) b->crossings[current]++;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    (void)id;
    struct block *b = block_of(tb);
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, b);
    for (size_t i = 0; count_crossings && i < b->instructions; i++)
        qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i), on_memory, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, b);
}

static void print_counts(const uint64_t *count) {
    for (int r = 0; r < n_regions; r++) fprintf(profile, " %" PRIu64, count[r]);
    fputc('\n', profile);
}

static void on_exit_write(qemu_plugin_id_t id, void *data) {
    (void)id;
    (void)data;
    end_visit();
    fprintf(profile, "realm-count 2\n");
    for (int r = 0; r < n_regions; r++) {
        const struct region *x = &regions[r];
        fprintf(profile, "region %d %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", r, x->name, x->visits, x->instructions,
                x->visits ? x->min : 0, x->max);
    }
    for (const struct block *b = first_block; b; b = b->next) {
        fprintf(profile, "block %zu %" PRIx64 " %zu ", b->index, b->address, b->instructions);
        for (size_t i = 0; i < b->bytes; i++) fprintf(profile, "%02x", b->code[i]);
        print_counts(b->count);
    }
    for (const struct block *b = first_block; b; b = b->next) {
        for (const struct edge *e = b->edges; e; e = e->next) {
            fprintf(profile, "edge %zu %zu", b->index, e->to->index);
            print_counts(e->count);
        }
    }
    for (const struct block *b = first_block; b && count_crossings; b = b->next) {
        fprintf(profile, "crossing %zu", b->index);
        print_counts(b->crossings);
    }
    fprintf(profile, "end\n");
    if (fclose(profile)) fprintf(stderr, "realm_count: the profile could not be written\n");
}

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
        } else if (!strcmp(argv[i], "crossings")) {
            count_crossings = !strcmp(value, "on");
        } else if (n_regions < MAX_REGIONS && strlen(argv[i]) < sizeof regions[0].name) {
            struct region *r = &regions[n_regions++];
            strcpy(r->name, argv[i]);
            r->marker = strtoull(value, NULL, 16);
            r->min = UINT64_MAX;
        } else {
            fprintf(stderr, "realm_count: region '%s' is one too many, or its name is too long\n", argv[i]);
            return 1;
        }
    }
    if (!profile || !n_regions) {
        fprintf(stderr, "realm_count: needs profile=<file that can be written> and at least one region\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_atexit_cb(id, on_exit_write, NULL);
    return 0;
}
