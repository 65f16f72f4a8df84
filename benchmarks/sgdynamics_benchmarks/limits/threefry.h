// Threefry-2x32, sixteen lanes at once, with JAX's layout of counters (jax_threefry_partitionable):
// block n of a key is threefry(key, (0, n)); 32-bit word n is the xor of its two words; fold_in(key, n) is the block
// itself, and so is key n of a split.
// Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3 (SC 2011), Sec. 4.
#include <stdint.h>

#define LANES 16
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef int32_t mask __attribute__((vector_size(4 * LANES)));
typedef float reals __attribute__((vector_size(4 * LANES)));

typedef struct { words a, b; } pair;

#define ROTATE(x, r) (((x) << (r)) | ((x) >> (32 - (r))))
#define ROUND(r) x += y; y = ROTATE(y, r) ^ x;

static inline pair threefry(pair key, uint32_t counter) {
  words k0 = key.a, k1 = key.b, k2 = k0 ^ k1 ^ 0x1BD11BDAu;
  words x = k0, y = counter + k1;
  ROUND(13) ROUND(15) ROUND(26) ROUND(6)  x += k1; y += k2 + 1;
  ROUND(17) ROUND(29) ROUND(16) ROUND(24) x += k2; y += k0 + 2;
  ROUND(13) ROUND(15) ROUND(26) ROUND(6)  x += k0; y += k1 + 3;
  ROUND(17) ROUND(29) ROUND(16) ROUND(24) x += k1; y += k2 + 4;
  ROUND(13) ROUND(15) ROUND(26) ROUND(6)  x += k2; y += k0 + 5;
  return (pair){x, y};
}

// the keys of sixteen replicas; where there are fewer, the last lanes repeat the first
static inline pair load_keys(const uint32_t *keys, int first, int replicas) {
  pair key;
  for (int j = 0; j < LANES; j++) {
    int r = first + j < replicas ? first + j : first;
    key.a[j] = keys[2 * r];
    key.b[j] = keys[2 * r + 1];
  }
  return key;
}
