// Standard normal numbers from 32-bit words as jax.random.normal has them: sqrt(2) erfinv(u), u uniform in (-1, 1) from
// the upper 23 bits. erfinv by two polynomials in w = -log(1 - u^2), as XLA has it in float32.
// Giles, Approximating the erfinv function, GPU Computing Gems (Jade edition, 2011), single precision.
#ifdef __AVX512F__
#include <immintrin.h>
#endif
#include <math.h>

#define EACH UNROLL for (int i = 0; i < n; i++)
#define HORNER(p, x, c) EACH p[i] = p[i] * x[i] + (c);

static inline int any(mask m) {
#ifdef __AVX512F__
  return _mm512_test_epi32_mask((__m512i)m, (__m512i)m) != 0;
#else
  int found = 0;
  for (int j = 0; j < LANES; j++) found |= m[j];
  return found;
#endif
}

// log y for 0 < y <= 1: y = 2^e (1 + f), f in [-1/3, 1/3], and a minimax polynomial in f
static inline __attribute__((always_inline)) void logarithms(const reals *y, const int n, reals *out) {
  mask e[n];
  reals f[n], r[n];
  EACH e[i] = ((mask)y[i] - 0x3f2aaaab) >> 23;
  EACH f[i] = (reals)((mask)y[i] - (e[i] << 23)) - 1.0f;
  EACH r[i] = -0.130310059f * f[i] + 0.140869141f;
  HORNER(r, f, -0.121483780f) HORNER(r, f, 0.139814854f) HORNER(r, f, -0.166846126f) HORNER(r, f, 0.200120345f)
  HORNER(r, f, -0.249996200f) HORNER(r, f, 0.333331972f) HORNER(r, f, -0.5f)
  EACH r[i] = r[i] * (f[i] * f[i]) + f[i];
  EACH out[i] = __builtin_convertvector(e[i], reals) * 0.693147182f + r[i];
}

// where w >= 5: one number in three hundred
static __attribute__((noinline)) reals tail(reals w) {
  reals x, p;
  for (int j = 0; j < LANES; j++) x[j] = sqrtf(w[j]) - 3.0f;
  p = -0.000200214257f * x + 0.000100950558f;
  p = p * x + 0.00134934322f;
  p = p * x - 0.00367342844f;
  p = p * x + 0.00573950773f;
  p = p * x - 0.0076224613f;
  p = p * x + 0.00943887047f;
  p = p * x + 1.00167406f;
  return p * x + 2.83297682f;
}

static inline __attribute__((always_inline)) void normals(const words *word, const int n, reals *z) {
  reals u[n], w[n], x[n], p[n];
  EACH u[i] = ((reals)(word[i] >> 9 | 0x3f800000u) - 1.0f) * 2.0f - 0.99999994f;
  EACH w[i] = (1.0f - u[i]) * (1.0f + u[i]);
  logarithms(w, n, w);
  EACH w[i] = -w[i];
  EACH x[i] = w[i] - 2.5f;
  EACH p[i] = 2.81022636e-08f * x[i] + 3.43273939e-07f;
  HORNER(p, x, -3.5233877e-06f) HORNER(p, x, -4.39150654e-06f) HORNER(p, x, 0.00021858087f)
  HORNER(p, x, -0.00125372503f) HORNER(p, x, -0.00417768164f) HORNER(p, x, 0.246640727f) HORNER(p, x, 1.50140941f)
  EACH {
    const mask far = w[i] >= 5.0f;
    if (any(far)) p[i] = (reals)(((mask)tail(w[i]) & far) | ((mask)p[i] & ~far));
  }
  EACH z[i] = p[i] * u[i] * 1.41421356f;
}
