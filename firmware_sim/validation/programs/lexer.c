/* Reads configuration lines: string compares, calls through a table of functions, decimal numbers. */
#include "bench.h"

static const char lines[] = "gain=37\nrate = 30000\nmode=fast\n# note\nlimit=-1200\nmode=slow\ngain=9\nname=probe7\nrate=1000\n\nlimit=55\n"
                            "gain = 101\nmode=fast\nwidth=77\n";
static int32_t settings[4];

static uint32_t name_hash;

void prepare(void) { settings[0] = 1; }

static int32_t number(const char *at) {
    int32_t value = 0, sign = 1;
    if (*at == '-') sign = -1, at++;
    for (; *at >= '0' && *at <= '9'; at++) value = value * 10 + (*at - '0');
    return sign * value;
}

static void set_gain(const char *at) { settings[0] += number(at); }
static void set_rate(const char *at) { settings[1] = number(at) >> 1; }
static void set_limit(const char *at) { settings[2] ^= number(at); }
static void set_mode(const char *at) { settings[3] = settings[3] * 3 + (*at == 'f'); }
static void set_name(const char *at) {
    while (*at > ' ') name_hash = name_hash * 33 ^ (uint8_t)*at++;
}

static const struct {
    char name[6];
    void (*set)(const char *);
} keys[] = {{"gain", set_gain}, {"rate", set_rate}, {"limit", set_limit}, {"mode", set_mode}, {"name", set_name}};

static const char *after_name(const char *at, const char *name) {
    while (*name && *name == *at) name++, at++;
    return *name ? 0 : at;
}

uint32_t program(void) {
    uint32_t unknown = 0;
    for (int pass = 0; pass < 6; pass++) {
        for (const char *at = lines; *at; at++) {
            const char *rest = 0;
            uint32_t key = 0;
            for (; key < sizeof keys / sizeof *keys; key++)
                if ((rest = after_name(at, keys[key].name))) break;
            if (rest) {
                while (*rest == ' ' || *rest == '=') rest++;
                keys[key].set(rest);
            } else {
                unknown++;
            }
            while (*at != '\n') at++;
        }
    }
    return (uint32_t)settings[0] * 7 + (uint32_t)settings[1] * 5 + (uint32_t)settings[2] * 3 + (uint32_t)settings[3] + name_hash + unknown;
}
