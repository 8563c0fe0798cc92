/* The float parts of a kernel file: rows (quantising, layer normalisation), what follows a product, and attention. They
 * are written once over vectors of V floats; a kernel file defines those vectors, includes this file, and then has its
 * own tile of integer products.
 *
 * What a kernel file defines first:
 *   vf, V                    a vector of V floats
 *   v_load v_store v_set v_add v_sub v_mul v_fma v_max v_min v_round   v_fma(a, b, c) is a * b + c
 *   v_power(x, n)            x * 2^n, n whole
 *   v_float(p)               V int32 as floats
 *   v_sum v_peak v_least     over a vector, in a fixed order
 *   v_store_codes(p, x)      V whole numbers as bytes: signed or not, as the class has them
 *   FLOAT_ROWS, EACH_FLOAT_ROW(X)    rows of attention's tile, X(0) X(1) ...
 *   lane, PER_LANE, lane_of(x, y)    what attention multiplies: a float, or a pair of bfloat16 (y is its second)
 *   vl, vl_load, vl_set, v_dot(c, a, b)     vectors of lanes: c + a * b, summed over a lane's parts
 *
 * No sum depends on how rows are cut into tiles or on what else is computed: every row has the same bits in any company.
 */
#include "kernels.h"

#define INLINE static inline __attribute__((always_inline))
#define FLOAT_COLUMNS (2 * V) /* columns of attention's tile */
#define QUERY_TILES 4         /* tiles of queries that share a pass over keys and values */

/* e^x for x <= 0, within 2e-7 of itself; from -87 down, -INFINITY among it, it stays at 1.6e-38: beside a softmax's
 * largest term, which is 1, that is nothing. */
INLINE vf v_exp(vf x) {
    x = v_max(x, v_set(-87));
    vf n = v_round(v_mul(x, v_set(1.44269504f)));
    vf r = v_fma(n, v_set(-0.693359375f), x);
    r = v_fma(n, v_set(2.12194440e-4f), r);
    vf p = v_set(0.008290313184261322f);
    p = v_fma(p, r, v_set(0.04189793020486832f));
    p = v_fma(p, r, v_set(0.1666763573884964f));
    p = v_fma(p, r, v_set(0.4999915063381195f));
    p = v_fma(p, r, v_set(0.9999997019767761f));
    return v_power(v_fma(p, r, v_set(1)), n);
}

/* Gelu (the erf form), within 1e-5 * max(1, |x|): an odd polynomial for the normal distribution on [-4.25, 4.25]. */
INLINE vf v_gelu(vf x) {
    vf t = v_min(v_max(x, v_set(-4.25f)), v_set(4.25f)), u = v_mul(t, t);
    vf p = v_set(-2.21627360560972e-12f);
    p = v_fma(p, u, v_set(2.4283045019224403e-10f));
    p = v_fma(p, u, v_set(-1.1967378199528866e-08f));
    p = v_fma(p, u, v_set(3.539279873621126e-07f));
    p = v_fma(p, u, v_set(-7.095572527759941e-06f));
    p = v_fma(p, u, v_set(0.0001035229506669566f));
    p = v_fma(p, u, v_set(-0.001149068004451692f));
    p = v_fma(p, u, v_set(0.009902971796691418f));
    p = v_fma(p, u, v_set(-0.06642813235521317f));
    p = v_fma(p, u, v_set(0.39892566204071045f));
    return v_mul(x, v_fma(p, t, v_set(0.5f)));
}

/* A row -> whole numbers from `low` to `low + span`, so that 0 is one of them. */
static void quantize(const bge_class *class, const float *x, int size, uint8_t *codes, float *scale, int32_t *zero) {
    vf leasts = v_set(0), mosts = v_set(0);
    for (int i = 0; i < size; i += V) {
        leasts = v_min(leasts, v_load(x + i));
        mosts = v_max(mosts, v_load(x + i));
    }
    float least = v_least(leasts), range = v_peak(mosts) - least, low = (float)class->low, span = (float)class->span;
    int zeros = !(range >= BGE_SMALLEST_RANGE);
    float inverse = zeros ? 0 : span / range, shift = low + rintf(-least * inverse);
    for (int i = 0; i < size; i += V) {
        vf code = v_round(v_fma(v_load(x + i), v_set(inverse), v_set(shift)));
        v_store_codes(codes + i, v_min(v_max(code, v_set(low)), v_set(low + span)));
    }
    *scale = zeros ? 0 : range / span;
    *zero = (int32_t)shift;
}

/* Layer normalisation, the mean first and then the variance around it. */
static void norm(const float *x, const float *weight, const float *bias, float epsilon, int size, float *out) {
    vf sum = v_set(0), squares = v_set(0);
    for (int i = 0; i < size; i += V) sum = v_add(sum, v_load(x + i));
    vf mean = v_set(v_sum(sum) / (float)size);
    for (int i = 0; i < size; i += V) {
        vf away = v_sub(v_load(x + i), mean);
        squares = v_fma(away, away, squares);
    }
    vf scale = v_set(1 / sqrtf(v_sum(squares) / (float)size + epsilon));
    for (int i = 0; i < size; i += V) {
        vf away = v_mul(v_sub(v_load(x + i), mean), scale);
        v_store(out + i, v_fma(away, v_load(weight + i), v_load(bias + i)));
    }
}

static float dot(const float *x, const float *y, int size) {
    vf sum = v_set(0), other = v_set(0);
    for (int i = 0; i < size; i += 2 * V) {
        sum = v_fma(v_load(x + i), v_load(y + i), sum);
        other = v_fma(v_load(x + i + V), v_load(y + i + V), other);
    }
    return v_sum(v_add(sum, other));
}

/* Sums of products, (rows, width) -> scales, bias, Gelu, residual -> out. */
INLINE void finish(const bge_product *p, int row, int rows, int panel, int width, const int32_t *sums) {
    const float *weight_scales = p->matrix.scales + panel * width, *bias = p->matrix.bias + panel * width;
    for (int r = 0; r < rows; r++, sums += width) {
        size_t place = (size_t)(row + r) * p->outputs + (size_t)panel * width;
        vf scale = v_set(p->scales[row + r]);
        if (p->gelu) {
            for (int c = 0; c < width; c += 2 * V) {
                vf x = v_fma(v_float(sums + c), v_mul(scale, v_load(weight_scales + c)), v_load(bias + c));
                vf y = v_fma(v_float(sums + c + V), v_mul(scale, v_load(weight_scales + c + V)), v_load(bias + c + V));
                v_store(p->out + place + c, v_gelu(x));
                v_store(p->out + place + c + V, v_gelu(y));
            }
        } else {
            for (int c = 0; c < width; c += V) {
                vf x = v_fma(v_float(sums + c), v_mul(scale, v_load(weight_scales + c)), v_load(bias + c));
                v_store(p->out + place + c, p->residual ? v_add(x, v_load(p->residual + place + c)) : x);
            }
        }
    }
}

/* a (FLOAT_ROWS, depth) of lanes, b (depth, FLOAT_COLUMNS) of lanes -> out (FLOAT_ROWS, FLOAT_COLUMNS). */
#define ZEROS(r) vf c##r = v_set(0), d##r = v_set(0);
#define STEP(r) { vl x = vl_set(a + (r) * a_stride + i); c##r = v_dot(c##r, x, left); d##r = v_dot(d##r, x, right); }
#define KEEP(r) v_store(out + (r) * out_stride, c##r); v_store(out + (r) * out_stride + V, d##r);
static __attribute__((noinline)) void float_tile(const lane *a, size_t a_stride, const lane *b, int depth, float *out,
                                                 size_t out_stride) {
    EACH_FLOAT_ROW(ZEROS)
    for (int i = 0; i < depth; i++, b += FLOAT_COLUMNS) {
        vl left = vl_load(b), right = vl_load(b + V);
        EACH_FLOAT_ROW(STEP)
    }
    EACH_FLOAT_ROW(KEEP)
}
#undef ZEROS
#undef STEP
#undef KEEP

/* The softmax of a row, but for the division by its sum, which is returned: scores -> e^(score - peak). */
INLINE float exponentials(float *scores, int size) {
    vf peaks = v_load(scores), sums = v_set(0);
    for (int i = V; i < size; i += V) peaks = v_max(peaks, v_load(scores + i));
    vf peak = v_set(v_peak(peaks));
    for (int i = 0; i < size; i += V) {
        vf x = v_exp(v_sub(v_load(scores + i), peak));
        v_store(scores + i, x);
        sums = v_add(sums, x);
    }
    return v_sum(sums);
}

/* Keys of one head -> (panels, size/PER_LANE, FLOAT_COLUMNS) of lanes; those past the end are zeros. Rows lie a multiple
 * of 4 KB apart, all in the same few places of the first-level cache, so each is read in one go. */
INLINE void pack_keys(const bge_attention *a, const float *keys, lane *out) {
    for (int j = 0; j < a->tokens; j += FLOAT_COLUMNS, out += (size_t)a->size / PER_LANE * FLOAT_COLUMNS) {
        int here = bge_least(FLOAT_COLUMNS, a->tokens - j);
        for (int c = 0; c < here; c++) {
            const float *k = keys + (j + c) * a->width;
            for (int d = 0; d < a->size; d += PER_LANE)
                out[d / PER_LANE * FLOAT_COLUMNS + c] = lane_of(k[d], k[d + PER_LANE - 1]);
        }
        for (int c = here; c < FLOAT_COLUMNS; c++)
            for (int d = 0; d < a->size / PER_LANE; d++) out[d * FLOAT_COLUMNS + c] = 0;
    }
}

/* Values of one head -> (panels, tokens/PER_LANE, FLOAT_COLUMNS) of lanes; columns past the end are zeros. */
INLINE void pack_values(const bge_attention *a, const float *values, lane *out) {
    size_t panel = (size_t)((a->tokens + PER_LANE - 1) / PER_LANE) * FLOAT_COLUMNS;
    for (int j = 0; j < a->tokens; j += PER_LANE, out += FLOAT_COLUMNS) {
        const float *v = values + j * a->width, *next = v + (PER_LANE - 1) * a->width;
        int last = PER_LANE > 1 && j + 1 == a->tokens;
        for (int d = 0; d < a->size; d += FLOAT_COLUMNS) {
            lane *columns = out + panel * (d / FLOAT_COLUMNS);
            int here = bge_least(FLOAT_COLUMNS, a->size - d), c = 0;
            for (; c < here; c++) columns[c] = lane_of(v[d + c], last ? 0 : next[d + c]);
            for (; c < FLOAT_COLUMNS; c++) columns[c] = 0;
        }
    }
}

/* Where attention's parts lie in its memory, counted in floats or lanes (both take 4 bytes). */
struct parts {
    int padded;  /* tokens, up to a whole panel */
    size_t values, queries, scores, weights, end;
};

INLINE struct parts parts(const bge_attention *a) {
    struct parts p = {.padded = (int)bge_rounded_up((size_t)a->tokens, FLOAT_COLUMNS)};
    size_t rows = QUERY_TILES * FLOAT_ROWS;
    p.values = bge_rounded_up((size_t)p.padded * a->size / PER_LANE, 16);
    p.queries = p.values + (size_t)p.padded / PER_LANE * bge_rounded_up((size_t)a->size, FLOAT_COLUMNS);
    p.scores = p.queries + bge_rounded_up(rows * a->size, 16);
    p.weights = p.scores + rows * p.padded;
    p.end = p.weights + rows * p.padded / PER_LANE;
    return p;
}

static size_t attention_bytes(const bge_attention *a) { return parts(a).end * sizeof(float); }

/* softmax(query x key^T / sqrt(size)) x value, of one head and some of its queries. Keys and values are laid out for
 * `float_tile` once; then a few tiles of queries at a time go through scores, softmax and the sum over values, whose
 * division by the softmax's sum comes last. Padded keys have the score -INFINITY, and no values. */
static void attend(const bge_attention *a, int head, int query, int queries, void *memory) {
    struct parts at = parts(a);
    lane *keys = memory, *values = keys + at.values, *some = keys + at.queries, *weights = keys + at.weights;
    float *scores = (float *)memory + at.scores, scale = 1 / sqrtf((float)a->size);
    size_t first = (size_t)head * a->size;
    int depth = a->size / PER_LANE;
    pack_keys(a, a->key + first, keys);
    pack_values(a, a->value + first, values);
    for (int begin = query; begin < query + queries; begin += QUERY_TILES * FLOAT_ROWS) {
        int rows = bge_least(QUERY_TILES * FLOAT_ROWS, query + queries - begin);
        int tiles = (rows + FLOAT_ROWS - 1) / FLOAT_ROWS;
        /* queries / sqrt(size), as lanes; rows past the end are zeros */
        for (int r = 0; r < rows; r++) {
            const float *q = a->query + (begin + r) * a->width + first;
            for (int d = 0; d < depth; d++)
                some[r * depth + d] = lane_of(q[d * PER_LANE] * scale, q[d * PER_LANE + PER_LANE - 1] * scale);
        }
        memset(some + rows * depth, 0, (size_t)(tiles * FLOAT_ROWS - rows) * depth * sizeof *some);
        /* scores (rows, tokens) = queries x keys^T */
        for (int j = 0; j < at.padded; j += FLOAT_COLUMNS)
            for (int t = 0; t < tiles; t++)
                float_tile(some + t * FLOAT_ROWS * depth, depth, keys + (size_t)j * depth, depth,
                           scores + (size_t)t * FLOAT_ROWS * at.padded + j, at.padded);
        /* scores -> softmax's numerators, as lanes, and a sum per row */
        float sums[QUERY_TILES * FLOAT_ROWS];
        for (int r = 0; r < tiles * FLOAT_ROWS; r++) {
            float *row = scores + (size_t)r * at.padded;
            for (int j = a->tokens; j < at.padded; j++) row[j] = -INFINITY;
            sums[r] = exponentials(row, at.padded);
            lane *lanes = weights + (size_t)r * at.padded / PER_LANE;
            for (int j = 0; j < at.padded / PER_LANE; j++) lanes[j] = lane_of(row[j * PER_LANE], row[j * PER_LANE + PER_LANE - 1]);
        }
        /* out (rows, size) = numerators x values / sums */
        int lanes = (a->tokens + PER_LANE - 1) / PER_LANE;
        for (int d = 0; d < a->size; d += FLOAT_COLUMNS) {
            int columns = bge_least(FLOAT_COLUMNS, a->size - d);
            for (int t = 0; t < tiles; t++) {
                float tile[FLOAT_ROWS * FLOAT_COLUMNS] __attribute__((aligned(64)));
                float_tile(weights + (size_t)t * FLOAT_ROWS * at.padded / PER_LANE, at.padded / PER_LANE,
                           values + (size_t)d * lanes, lanes, tile, FLOAT_COLUMNS);
                for (int r = 0; r < FLOAT_ROWS && t * FLOAT_ROWS + r < rows; r++) {
                    float *out = a->out + (begin + t * FLOAT_ROWS + r) * a->width + first + d;
                    float share = 1 / sums[t * FLOAT_ROWS + r];
                    for (int c = 0; c < columns; c++) out[c] = tile[r * FLOAT_COLUMNS + c] * share;
                }
            }
        }
    }
}
