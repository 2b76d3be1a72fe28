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
 * For programs that have no markers, or few: entry=<address> begins region 0 when a block there runs for the first time. until=<address>
 * ends QEMU when a block there is about to run, with times=<n> for the n-th time; addresses are hexadecimal. contexts=<thumb or rv32>
 * divides the counts by call stack as well. flash=<first>-<behind last>, repeatable, counts the bytes that are loaded from there, and
 * line=<bytes> the lines that caches of icache=<lines> and dcache=<lines> in front of it do not hold; unified=on: one cache for both.
 *
 * The profile is text, one record a line:
 *   realm-count 3
 *   region <index> <name> <visits> <instructions>
 *   block <counter> <address> <instructions> <their bytes> <executions in region 0> <... in region 1> ...
 *   edge <counter> <block's counter> <next block's counter> <count in region 0> ...
 *   crossing <block's counter> <accesses across a word boundary in region 0> ...
 *   node <index> <parent's index> <calling block's counter> <called block's counter>     (but for node 0, which is entered)
 *   in <node> <counter> <executions> <accesses across a word boundary> <bytes loaded from flash> <misses>
 *   stopped                                                                             (where until= was reached)
 *   end
 *
 * A visit lasts from a marker to the next. How often each block and edge ran in it goes to the second file, as the difference from the
 * visit to the same region before: most visits take the same way, so that few counters differ. It holds records of four little-endian
 * 32-bit words: region, visit (from 0), counter, difference (signed; what exceeds it goes to further records).
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
#include <unistd.h>

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
_Bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t info);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
EXPORT int qemu_plugin_version = REALM_PLUGIN_API;

enum { MAX_REGIONS = 16, BUCKETS = 4096, NO_REGION = -1 };
enum { MAX_FLASH = 8, MAX_NODES = 20000, MAX_FRAMES = 65536, RETURNS_OVER = 64 };
enum ending { PLAIN, CALL, RETURN }; /* RETURN: any jump to an address from a register or from the stack, without a link */
enum isa { NO_ISA, THUMB, RV32 };

struct counter {
    uint64_t now;               /* in this visit */
    uint64_t last[MAX_REGIONS]; /* in the visit to the region before */
    uint32_t index;
    unsigned member; /* bit r: in the list of region r */
    uint64_t total[MAX_REGIONS];
    struct cell *cell; /* of the node in which it ran last */
};

/* What a counter counted in one node. */
struct cell {
    const struct node *node;
    uint32_t index;
    uint64_t count, crossings, flash_bytes, misses;
    struct cell *next_in_bucket, *next;
};

/* A way to be called. Recursion leads back to the node that it began in, so that there are few. */
struct node {
    uint32_t index;
    struct node *parent;
    const struct block *from, *to;
    struct call *calls;
    struct node *next;
};

struct call {
    const struct block *from, *to;
    struct node *node;
    struct call *next;
};

/* A line of flash, and when the cache that holds it used it last; 0: no cache does. */
struct line {
    uint64_t number, used[2];
    struct line *next_in_bucket;
};

/* Every line may stand everywhere; the one that was not used for longest goes. */
struct cache {
    size_t room, n_held;
    struct line **held;
};

struct frame {
    uint64_t back; /* the address to return to */
    struct node *node;
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
    uint64_t end; /* behind the last instruction */
    enum ending ending;
    struct line **lines; /* of flash, that its code lies in */
    size_t n_lines;
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
static enum isa contexts;
static uint64_t entry, until, times = 1;
static int has_until, waits_for_entry, stopped;
static struct {
    uint64_t first, behind;
} flash[MAX_FLASH];
static int n_flash, unified;
static uint64_t line_bytes, now_used;
static struct line *lines[BUCKETS];
static struct cache caches[2]; /* of instructions, of data */

static struct node root, *node = &root, *last_node = &root;
static uint32_t n_nodes = 1;
static struct frame *frames;
static size_t depth;
static struct cell *cells[BUCKETS], *first_cell, **append_cell = &first_cell;
static const struct block *running; /* the block that runs, marker or not */

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
        for (int64_t left = (int64_t)(c->now - c->last[current]); left;) {
            const int32_t part = left > INT32_MAX ? INT32_MAX : left < -INT32_MAX ? -INT32_MAX : (int32_t)left;
            const uint32_t record[4] = {(uint32_t)current, (uint32_t)r->visits, c->index, (uint32_t)part};
            fwrite(record, sizeof record, 1, visits);
            left -= part;
        }
        c->last[current] = c->now;
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

static struct cell *cell_of(struct counter *c) {
    if (c->cell && c->cell->node == node) return c->cell;
    struct cell **bucket = &cells[(node->index * 31u + c->index) % BUCKETS];
    for (struct cell *x = *bucket; x; x = x->next_in_bucket)
        if (x->node == node && x->index == c->index) return c->cell = x;
    struct cell *x = allocate(sizeof *x);
    x->node = node;
    x->index = c->index;
    x->next_in_bucket = *bucket;
    *bucket = x;
    *append_cell = x;
    append_cell = &x->next;
    return c->cell = x;
}

static inline void count(struct counter *c) {
    if (!(c->member & 1u << current)) join(c);
    c->now++;
    if (contexts) cell_of(c)->count++;
}

static struct node *called(const struct block *from, const struct block *to) {
    for (struct call *c = node->calls; c; c = c->next)
        if (c->from == from && c->to == to) return c->node;
    struct node *found = node;
    while (found && found->to != to) found = found->parent;
    if (!found && n_nodes == MAX_NODES) return node;
    if (!found) {
        found = allocate(sizeof *found);
        found->index = n_nodes++;
        found->parent = node;
        found->from = from;
        found->to = to;
        last_node = last_node->next = found;
    }
    struct call *c = allocate(sizeof *c);
    c->from = from;
    c->to = to;
    c->node = found;
    c->next = node->calls;
    return (node->calls = c)->node;
}

/* Which node a block runs in, by what the block before it ended with. A return that skips frames (longjmp) drops them; one that leads to
 * no frame, as that of an interrupt, changes nothing. */
static void follow(const struct block *from, const struct block *to) {
    if (from->ending == CALL && to->address != from->end) {
        if (!frames) frames = allocate(MAX_FRAMES * sizeof *frames);
        if (depth == MAX_FRAMES) { /* nobody returns: the oldest half is forgotten */
            depth /= 2;
            memmove(frames, frames + depth, depth * sizeof *frames);
        }
        frames[depth++] = (struct frame){from->end, node};
        node = called(from, to);
    } else if (from->ending == RETURN) {
        for (size_t i = depth; i && depth - i < RETURNS_OVER; i--)
            if (frames[i - 1].back == to->address) {
                depth = i - 1;
                node = frames[depth].node;
                break;
            }
    }
}

/* in: the node that from ran in. */
static void count_edge(struct block *from, struct block *to, struct node *in) {
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
    struct node *const now = node;
    node = in;
    count(&e->counter);
    node = now;
}

static int in_flash(uint64_t address) {
    for (int i = 0; i < n_flash; i++)
        if (flash[i].first <= address && address < flash[i].behind) return 1;
    return 0;
}

static struct line *line_at(uint64_t address) {
    const uint64_t number = address / line_bytes;
    struct line **bucket = &lines[number % BUCKETS];
    for (struct line *l = *bucket; l; l = l->next_in_bucket)
        if (l->number == number) return l;
    struct line *l = allocate(sizeof *l);
    l->number = number;
    l->next_in_bucket = *bucket;
    return *bucket = l;
}

/* Whether the cache did not hold the line; now it does. */
static int misses(int which, struct line *l) {
    struct cache *c = &caches[which];
    if (!c->room) return 1;
    const int held = l->used[which] != 0;
    l->used[which] = ++now_used;
    if (held) return 0;
    if (!c->held) c->held = allocate(c->room * sizeof *c->held);
    size_t place = c->n_held;
    if (c->n_held < c->room) {
        c->n_held++;
    } else {
        place = 0;
        for (size_t i = 1; i < c->room; i++)
            if (c->held[i]->used[which] < c->held[place]->used[which]) place = i;
        c->held[place]->used[which] = 0;
    }
    c->held[place] = l;
    return 1;
}

static void fetch(const struct block *b) {
    for (size_t i = 0; i < b->n_lines; i++) b->counter.cell->misses += (uint64_t)misses(0, b->lines[i]);
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

static void write_profile(void);

static void stop(void) {
    stopped = 1;
    write_profile();
    _exit(0); /* nothing of QEMU's has to be put away, and the program is to go no step further */
}

static void on_block(unsigned int cpu, void *data) {
    (void)cpu;
    struct block *b = data;
    if (goes_on(b)) return;
    if (waits_for_entry) {
        if (b->address != entry) return;
        waits_for_entry = 0;
        current = 0;
    }
    if (has_until && b->address == until && current != NO_REGION && !--times) stop();
    struct node *const before = node;
    if (contexts && running) follow(running, b);
    running = b;
    if (b->marks != NO_REGION) {
        end_visit();
        current = b->marks;
        visit_instructions = 0;
        previous = NULL;
        return;
    }
    if (current == NO_REGION) return;
    count(&b->counter);
    if (line_bytes) fetch(b);
    visit_instructions += b->instructions;
    if (previous) count_edge(previous, b, before);
    previous = b;
}

#if REALM_PLUGIN_API >= 3
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *to, size_t room);
static void copy_code(uint8_t *to, const struct qemu_plugin_insn *insn, size_t bytes) { qemu_plugin_insn_data(insn, to, bytes); }
#else
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
static void copy_code(uint8_t *to, const struct qemu_plugin_insn *insn, size_t bytes) { memcpy(to, qemu_plugin_insn_data(insn), bytes); }
#endif

static enum ending ending_of(const uint8_t *at, size_t bytes) {
    const uint32_t a = at[0] | at[1] << 8, b = bytes > 2 ? (uint32_t)(at[2] | at[3] << 8) : 0;
    if (contexts == THUMB) {
        if (bytes > 2 && (a & 0xF800) == 0xF000 && (b & 0xD000) == 0xD000) return CALL; /* BL */
        if (bytes > 2) return (a == 0xE8BD && b & 0x8000) || (a == 0xF85D && b == 0xFB04) ? RETURN : PLAIN; /* POP {..., PC} */
        if ((a & 0xFF80) == 0x4780) return CALL; /* BLX */
        return (a & 0xFF80) == 0x4700 || (a & 0xFF00) == 0xBD00 || a == 0x46F7 ? RETURN : PLAIN; /* BX; POP {..., PC}; MOV PC, LR */
    }
    if (bytes > 2) {
        const uint32_t code = a | b << 16, opcode = code & 0x7F, rd = code >> 7 & 31;
        if ((opcode == 0x67 || opcode == 0x6F) && (rd == 1 || rd == 5)) return CALL; /* JALR, JAL with a link register */
        return (opcode == 0x67 && !rd) || code == 0x30200073 ? RETURN : PLAIN;    /* JR; MRET */
    }
    if ((a & 0xE003) == 0x2001 || ((a & 0xF07F) == 0x9002 && a != 0x9002)) return CALL; /* C.JAL, C.JALR */
    return (a & 0xF07F) == 0x8002 ? RETURN : PLAIN;                                     /* C.JR */
}

/* Halfword by halfword, because on ARM the last instruction may have a halfword too many. */
static size_t size_of(const uint8_t *at) { return contexts == THUMB ? (at[1] >> 3 >= 0x1D ? 4 : 2) : (at[0] & 3) == 3 ? 4 : 2; }

/* A program that runs into an address without a jump has no block that begins there. */
static void refuse_inside(const struct qemu_plugin_tb *tb, uint64_t address, const char *what) {
    for (size_t i = 1; i < qemu_plugin_tb_n_insns(tb); i++)
        if (qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, i)) == address) {
            fprintf(stderr, "realm_count: the program runs into %s without a jump or call\n", what);
            fflush(stderr);
            _exit(1);
        }
}

/* QEMU translates the same code again after its cache was flushed: the same address and bytes are the same block. */
static struct block *block_of(const struct qemu_plugin_tb *tb) {
    uint8_t code[4096];
    size_t bytes = 0;
    const size_t n = qemu_plugin_tb_n_insns(tb);
    const uint64_t address = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, 0));
    size_t last = 0;
    if (has_until) refuse_inside(tb, until, "the end");
    if (waits_for_entry) refuse_inside(tb, entry, "the entry");
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
        last = bytes;
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
    if (contexts) {
        const size_t size = size_of(code + last);
        b->end = address + last + size;
        b->ending = ending_of(code + last, size);
        if (line_bytes && in_flash(address)) {
            b->n_lines = (b->end - 1) / line_bytes - address / line_bytes + 1;
            b->lines = allocate(b->n_lines * sizeof *b->lines);
            for (size_t i = 0; i < b->n_lines; i++) b->lines[i] = line_at(address + i * line_bytes);
        }
    }
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
    const int crosses = (address & 3) + (bytes < 4 ? bytes : 4) > 4;
    if (current == NO_REGION) return;
    if (crosses) b->crossings[current]++;
    struct cell *c = contexts && running ? running->counter.cell : NULL; /* not b's: it may be the rest of the one that runs */
    if (!c) return;
    c->crossings += (uint64_t)crosses;
    if (qemu_plugin_mem_is_store(info) || !in_flash(address)) return;
    c->flash_bytes += bytes;
    if (line_bytes) c->misses += (uint64_t)misses(unified ? 0 : 1, line_at(address));
}

static void instrument(struct qemu_plugin_tb *tb) {
    struct block *b = block_of(tb);
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, b);
    if (b->instructions > 1)
        qemu_plugin_register_vcpu_insn_exec_cb(qemu_plugin_tb_get_insn(tb, b->instructions - 1), on_last, QEMU_PLUGIN_CB_NO_REGS, NULL);
    for (size_t i = 0; (count_crossings || n_flash) && i < b->instructions; i++)
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
    for (const struct node *x = root.next; x; x = x->next)
        fprintf(profile, "node %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 "\n", x->index, x->parent->index, x->from->counter.index,
                x->to->counter.index);
    for (const struct cell *x = first_cell; x; x = x->next)
        fprintf(profile, "in %" PRIu32 " %" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", x->node->index, x->index, x->count,
                x->crossings, x->flash_bytes, x->misses);
    if (stopped) fprintf(profile, "stopped\n");
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
        } else if (!strcmp(argv[i], "contexts")) {
            contexts = !strcmp(value, "thumb") ? THUMB : RV32;
        } else if (!strcmp(argv[i], "entry")) {
            entry = strtoull(value, NULL, 16);
            waits_for_entry = 1;
        } else if (!strcmp(argv[i], "until")) {
            until = strtoull(value, NULL, 16);
            has_until = 1;
        } else if (!strcmp(argv[i], "times")) {
            times = strtoull(value, NULL, 10);
        } else if (!strcmp(argv[i], "line")) {
            line_bytes = strtoull(value, NULL, 10);
        } else if (!strcmp(argv[i], "icache")) {
            caches[0].room = strtoull(value, NULL, 10);
        } else if (!strcmp(argv[i], "dcache")) {
            caches[1].room = strtoull(value, NULL, 10);
        } else if (!strcmp(argv[i], "unified")) {
            unified = !strcmp(value, "on");
        } else if (!strcmp(argv[i], "flash") && n_flash < MAX_FLASH) {
            char *dash;
            flash[n_flash].first = strtoull(value, &dash, 16);
            flash[n_flash++].behind = strtoull(dash + 1, NULL, 16);
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
