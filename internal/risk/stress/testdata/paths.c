/*
 * The paths of package stress in C: the same generator, the same arithmetic, the same order
 * of sums. The test of that package and `make bench` compile it (gcc -O3 -ffp-contract=off -pthread) and hold
 * its bits and its speed against Go's.
 *
 *   paths SEED PAIRS THREADS < LISTING      prints nanoseconds by the clock and of the processor,
 *                                           then nine sums and the bins
 */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BINS = 64, BLOCK = 512, MAX_QUARTERS = 40, SUMS = 9, MAX_THREADS = 64 };
static const uint64_t STREAM = 0x737472657373;

typedef struct { double income, costs, rate; unsigned months; int free; } quarter;

typedef struct {
    int quarters;
    double balance, instalment, first, savings, benefit, keep, rate_shock, wage_shock, lose, find;
    double l10, l11, l20, l21, l22, low, per_bin;
    quarter quarter[MAX_QUARTERS];
} plan;

typedef struct {
    double fails, shortfall, control, fails_square, shortfall_square, control_square;
    double fails_control, shortfall_control, single_shortfall;
} sums;

typedef struct { double balance, instalment, monthly, left, lowest, idle; int working; } twin;

static inline double from_bits(uint64_t u) { double x; memcpy(&x, &u, 8); return x; }
static inline uint64_t to_bits(double x) { uint64_t u; memcpy(&u, &x, 8); return u; }

static double portable_exp(double x) {
    if (!(x <= 709.782712893383973096)) return x + INFINITY;
    if (x < -708.396418532264078749) return 0;
    double n = (x * 1.44269504088896338700e+00 + 6755399441055744.0) - 6755399441055744.0;
    double high = x - n * 6.93147180369123816490e-01;
    double low = n * 1.90821492927058770002e-10;
    double r = high - low;
    double t = r * r;
    double c = r - t * (1.66666666666666657415e-01 + t * (-2.77777777770155933842e-03 + t * (6.61375632143793436117e-05 +
               t * (-1.65339022054652515390e-06 + t * 4.13813679705723846039e-08))));
    double y = 1 - ((low - r * c / (2 - c)) - high);
    int64_t k = (int64_t)n;
    int64_t half = k / 2;
    return y * from_bits((uint64_t)(1023 + half) << 52) * from_bits((uint64_t)(1023 + k - half) << 52);
}

/* Of normal numbers above 0 only: its argument here is a probability. */
static double portable_log(double x) {
    uint64_t bits = to_bits(x);
    int64_t k = (int64_t)(bits >> 52) - 1023;
    double f = from_bits((bits & ((UINT64_C(1) << 52) - 1)) | (UINT64_C(1023) << 52));
    if (f > 1.41421356237309504880168872420969807856967187537694) { f *= 0.5; k++; }
    f--;
    double s = f / (2 + f), s2 = s * s, s4 = s2 * s2;
    double t1 = s2 * (6.666666666666735130e-01 + s4 * (2.857142874366239149e-01 + s4 * (1.818357216161805012e-01 + s4 * 1.479819860511658591e-01)));
    double t2 = s4 * (3.999999999940941908e-01 + s4 * (2.222219843214978396e-01 + s4 * 1.531383769920937332e-01));
    double half = 0.5 * f * f, n = (double)k;
    return n * 6.93147180369123816490e-01 - ((half - (s * (half + (t1 + t2)) + n * 1.90821492927058770002e-10)) - f);
}

static double tail(double p, double q) {
    double r = q > 0 ? 1 - p : p, x;
    r = sqrt(-portable_log(r));
    if (r <= 5) {
        r -= 1.6;
        double a = 2.27238449892691845833e-2 + r * 7.74545014278341407640e-4;
        a = 2.41780725177450611770e-1 + r * a;
        a = 1.27045825245236838258e0 + r * a;
        a = 3.64784832476320460504e0 + r * a;
        a = 5.76949722146069140550e0 + r * a;
        a = 4.63033784615654529590e0 + r * a;
        a = 1.42343711074968357734e0 + r * a;
        double b = 5.47593808499534494600e-4 + r * 1.05075007164441684324e-9;
        b = 1.51986665636164571966e-2 + r * b;
        b = 1.48103976427480074590e-1 + r * b;
        b = 6.89767334985100004550e-1 + r * b;
        b = 1.67638483018380384940e0 + r * b;
        b = 2.05319162663775882187e0 + r * b;
        b = 1 + r * b;
        x = a / b;
    } else {
        r -= 5;
        double a = 2.71155556874348757815e-5 + r * 2.01033439929228813265e-7;
        a = 1.24266094738807843860e-3 + r * a;
        a = 2.65321895265761230930e-2 + r * a;
        a = 2.96560571828504891230e-1 + r * a;
        a = 1.78482653991729133580e0 + r * a;
        a = 5.46378491116411436990e0 + r * a;
        a = 6.65790464350110377720e0 + r * a;
        double b = 1.42151175831644588870e-7 + r * 2.04426310338993978564e-15;
        b = 1.84631831751005468180e-5 + r * b;
        b = 7.86869131145613259100e-4 + r * b;
        b = 1.48753612908506148525e-2 + r * b;
        b = 1.36929880922735805310e-1 + r * b;
        b = 5.99832206555887937690e-1 + r * b;
        b = 1 + r * b;
        x = a / b;
    }
    return q < 0 ? -x : x;
}

static double quantile(double p) {
    double q = p - 0.5;
    if (-0.425 <= q && q <= 0.425) {
        double r = 0.180625 - q * q;
        double a = 3.3430575583588128105e+4 + r * 2.5090809287301226727e+3;
        a = 6.7265770927008700853e+4 + r * a;
        a = 4.5921953931549871457e+4 + r * a;
        a = 1.3731693765509461125e+4 + r * a;
        a = 1.9715909503065514427e+3 + r * a;
        a = 1.3314166789178437745e+2 + r * a;
        a = 3.3871328727963666080e0 + r * a;
        double b = 2.8729085735721942674e+4 + r * 5.2264952788528545610e+3;
        b = 3.9307895800092710610e+4 + r * b;
        b = 2.1213794301586595867e+4 + r * b;
        b = 5.3941960214247511077e+3 + r * b;
        b = 6.8718700749205790830e+2 + r * b;
        b = 4.2313330701600911252e+1 + r * b;
        b = 1 + r * b;
        return q * a / b;
    }
    return tail(p, q);
}

static inline double uniform(uint64_t bits) { return ((double)(int64_t)(bits >> 12) + 0.5) * 0x1p-52; }

static inline void philox(uint64_t seed, uint64_t stream, uint64_t c0, uint64_t c1, uint64_t out[4]) {
    uint64_t c2 = 0, c3 = 0;
    for (int i = 0; i < 10; i++) {
        unsigned __int128 m0 = (unsigned __int128)UINT64_C(0xD2E7470EE14C6C93) * c0;
        unsigned __int128 m1 = (unsigned __int128)UINT64_C(0xCA5A826395121157) * c2;
        uint64_t n0 = (uint64_t)(m1 >> 64) ^ c1 ^ seed, n2 = (uint64_t)(m0 >> 64) ^ c3 ^ stream;
        c0 = n0; c1 = (uint64_t)m1; c2 = n2; c3 = (uint64_t)m0;
        seed += UINT64_C(0x9E3779B97F4A7C15);
        stream += UINT64_C(0xBB67AE8584CAA73B);
    }
    out[0] = c0; out[1] = c1; out[2] = c2; out[3] = c3;
}

static inline void powers(double *x, double *y, unsigned n) {
    double a = 1, b = 1;
    for (; n > 0; n >>= 1) {
        if (n & 1) {
            a *= *x;
            b *= *y;
        }
        *x *= *x;
        *y *= *y;
    }
    *x = a;
    *y = b;
}

static inline double monthly(double rate) { return (rate > 0 ? rate : 0) / 12; }

static double annuity(double balance, double rate, double discounted, unsigned n) {
    if (rate < 1e-7) return balance * (1 + 0.5 * rate * (double)(n + 1)) / (double)n;
    return balance * rate / (1 - discounted);
}

static inline void live(twin *w, const plan *p, const quarter *q, double income, double work) {
    if (w->working) w->working = !(work < p->lose);
    else w->working = work > p->find;
    if (!w->working) {
        income *= p->benefit;
        w->idle++;
    }
    double g = 1 + w->monthly;
    double paid = w->instalment * (1 + g + g * g);
    w->balance = w->balance * (g * g * g) - paid;
    double surplus = income - q->costs - w->instalment;
    if (surplus < w->lowest) w->lowest = surplus;
    w->left += 3 * (surplus < 0 ? surplus : 0);
}

static inline int bin(const plan *p, double surplus) {
    double x = (surplus - p->low) * p->per_bin;
    if (!(x > 0)) return 0;
    if (x >= BINS) return BINS - 1;
    return (int)x;
}

static inline void include(sums *s, const twin *a, const twin *b) {
    double fails = (a->left < 0 ? 0.5 : 0) + (b->left < 0 ? 0.5 : 0);
    double short_a = a->left < 0 ? -a->left : 0, short_b = b->left < 0 ? -b->left : 0;
    double both = 0.5 * (short_a + short_b), idle = 0.5 * (a->idle + b->idle);
    s->fails += fails;
    s->shortfall += both;
    s->control += idle;
    s->fails_square += fails * fails;
    s->shortfall_square += both * both;
    s->control_square += idle * idle;
    s->fails_control += fails * idle;
    s->shortfall_control += both * idle;
    s->single_shortfall += short_a * short_a + short_b * short_b;
}

static void add(const plan *p, sums *s, uint64_t *bins, uint64_t seed, uint64_t first, uint64_t count) {
    double z[3 * MAX_QUARTERS + 3];
    twin start = {p->balance, p->instalment, p->first, p->savings, 1.79769313486231570814527423731704356798070e+308, 0, 1};
    for (uint64_t pair = first; pair < first + count; pair++) {
        for (int i = 0; i < 3 * p->quarters; i += 4) {
            uint64_t u[4];
            philox(seed, STREAM, pair, (uint64_t)i, u);
            for (int j = 0; j < 4; j++) z[i + j] = uniform(u[j]);
        }
        for (int i = 0; i < 3 * p->quarters; i++) z[i] = quantile(z[i]);
        twin a = start, b = start;
        double rate = 0, wage = 0;
        for (int t = 0; t < p->quarters; t++) {
            const quarter *q = &p->quarter[t];
            double income = p->l10 * z[3 * t] + p->l11 * z[3 * t + 1];
            double work = p->l20 * z[3 * t] + p->l21 * z[3 * t + 1] + p->l22 * z[3 * t + 2];
            rate = rate * p->keep + p->rate_shock * z[3 * t];
            wage += p->wage_shock * income;
            double up = portable_exp(wage);
            if (q->free) {
                a.monthly = monthly(q->rate + rate);
                b.monthly = monthly(q->rate - rate);
                double x = 1 / (1 + a.monthly), y = 1 / (1 + b.monthly);
                powers(&x, &y, q->months);
                a.instalment = annuity(a.balance, a.monthly, x, q->months);
                b.instalment = annuity(b.balance, b.monthly, y, q->months);
            }
            live(&a, p, q, q->income * up, work);
            live(&b, p, q, q->income / up, -work);
        }
        include(s, &a, &b);
        bins[bin(p, a.lowest)]++;
        bins[bin(p, b.lowest)]++;
    }
}

static plan the_plan;
static sums *parts;
static uint64_t seed, pairs, blocks;
static _Atomic uint64_t next;
static uint64_t all[MAX_THREADS][BINS];

static void *work(void *bins) {
    for (uint64_t i; (i = atomic_fetch_add(&next, 1)) < blocks;) {
        uint64_t left = pairs - i * BLOCK;
        add(&the_plan, &parts[i], bins, seed, i * BLOCK, left < BLOCK ? left : BLOCK);
    }
    return NULL;
}

static int64_t now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static double number(void) {
    uint64_t u;
    if (scanf("%16" SCNx64, &u) != 1) {
        fputs("paths: the listing ends too soon\n", stderr);
        exit(1);
    }
    return from_bits(u);
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fputs("usage: paths SEED PAIRS THREADS < LISTING\n", stderr);
        return 2;
    }
    seed = strtoull(argv[1], NULL, 10);
    pairs = strtoull(argv[2], NULL, 10);
    int threads = atoi(argv[3]);
    plan *p = &the_plan;
    p->quarters = (int)number();
    if (threads < 1 || threads > MAX_THREADS || pairs < 1 || p->quarters < 1 || p->quarters > MAX_QUARTERS) return 2;
    double *into[] = {&p->balance, &p->instalment, &p->first, &p->savings, &p->benefit, &p->keep, &p->rate_shock, &p->wage_shock,
                      &p->lose, &p->find, &p->l10, &p->l11, &p->l20, &p->l21, &p->l22, &p->low, &p->per_bin};
    for (size_t i = 0; i < sizeof into / sizeof *into; i++) *into[i] = number();
    for (int t = 0; t < p->quarters; t++) {
        quarter *q = &p->quarter[t];
        q->income = number();
        q->costs = number();
        q->rate = number();
        q->months = (unsigned)number();
        q->free = number() != 0;
    }
    blocks = (pairs + BLOCK - 1) / BLOCK;
    parts = calloc(blocks, sizeof *parts);
    if (!parts) return 1;
    int64_t began = now(CLOCK_MONOTONIC), spent = now(CLOCK_PROCESS_CPUTIME_ID);
    pthread_t others[MAX_THREADS];
    for (int i = 1; i < threads; i++)
        if (pthread_create(&others[i], NULL, work, all[i])) return 1;
    work(all[0]);
    for (int i = 1; i < threads; i++) pthread_join(others[i], NULL);
    double total[SUMS] = {0};
    for (uint64_t i = 0; i < blocks; i++)
        for (int j = 0; j < SUMS; j++) total[j] += ((double *)&parts[i])[j];
    printf("%" PRId64 " %" PRId64 "\n", now(CLOCK_MONOTONIC) - began, now(CLOCK_PROCESS_CPUTIME_ID) - spent);
    for (int j = 0; j < SUMS; j++) printf("%016" PRIx64 "\n", to_bits(total[j]));
    for (int j = 0; j < BINS; j++) {
        uint64_t n = 0;
        for (int i = 0; i < threads; i++) n += all[i][j];
        printf("%016" PRIx64 "\n", to_bits((double)n));
    }
    return 0;
}
