/*
 * Memory and string functions with SSE2, which every x86-64 has; on x86, memory-x86.c asks the processor. Linked into the interpreter
 * as an object, so that the whole process uses them: musl's own go byte by byte where CPython spends its time (find, split, comparing
 * and sorting strings).
 *
 * Always holds: no byte outside the operands is written; bytes outside are read only inside an aligned group of 16 (memchr: block
 * of 64) that holds a byte of the operand, hence never on another page. memory-test.c proves both at page ends, in every build.
 *
 * Compile with -fno-builtin -fno-tree-loop-distribute-patterns, or the compiler makes these functions call themselves.
 */
#include <emmintrin.h>
#include <stddef.h>
#include <stdint.h>

/* On x86 these are called by those that choose, under names of their own. */
#ifdef __x86_64__
#define API __attribute__((visibility("default")))
#define NAME(function) function
#else
#define API __attribute__((visibility("hidden")))
#define NAME(function) function##_sse2
#endif

typedef __m128i Group;
enum { GROUP = 16, BLOCK = 4 * GROUP };

/* Unaligned words of any type: packed says unaligned, may_alias says any type. */
typedef struct { uint64_t v; } __attribute__((packed, may_alias)) Word8;
typedef struct { uint32_t v; } __attribute__((packed, may_alias)) Word4;
typedef struct { uint16_t v; } __attribute__((packed, may_alias)) Word2;

static inline Group load(const unsigned char *p) { return _mm_loadu_si128((const Group *)p); }
static inline void store(unsigned char *p, Group g) { _mm_storeu_si128((Group *)p, g); }
static inline Group load_aligned(const unsigned char *p) { return _mm_load_si128((const Group *)p); }

/* One bit a byte: where the two are equal. */
static inline unsigned equal(Group a, Group b) { return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(a, b)); }

API void *NAME(memchr)(const void *start, int value, size_t size)
{
	const unsigned char *p = start;
	if (size == 0) return NULL;
	Group wanted = _mm_set1_epi8((char)value);
	size_t before = (uintptr_t)p % GROUP;
	unsigned found = equal(load_aligned(p - before), wanted) >> before;
	if (found) {
		size_t at = (size_t)__builtin_ctz(found);
		return at < size ? (void *)(p + at) : NULL;
	}
	for (size_t done = GROUP - before; done < size;) {
		/* Aligned, a block is on one page: bytes behind the first match may not exist, whatever the size says (C11 7.24.5.1). */
		if (size - done >= BLOCK && (uintptr_t)(p + done) % BLOCK == 0) {
			Group a = _mm_cmpeq_epi8(load_aligned(p + done), wanted);
			Group b = _mm_cmpeq_epi8(load_aligned(p + done + GROUP), wanted);
			Group c = _mm_cmpeq_epi8(load_aligned(p + done + 2 * GROUP), wanted);
			Group d = _mm_cmpeq_epi8(load_aligned(p + done + 3 * GROUP), wanted);
			if (_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d))) == 0) {
				done += BLOCK;
				continue;
			}
		}
		found = equal(load_aligned(p + done), wanted);
		if (found) {
			done += (size_t)__builtin_ctz(found);
			return done < size ? (void *)(p + done) : NULL;
		}
		done += GROUP;
	}
	return NULL;
}

API void *NAME(memrchr)(const void *start, int value, size_t size)
{
	const unsigned char *p = start;
	Group wanted = _mm_set1_epi8((char)value);
	while (size >= GROUP) {
		unsigned found = equal(load(p + size - GROUP), wanted);
		if (found) return (void *)(p + size - GROUP + 31 - (size_t)__builtin_clz(found));
		size -= GROUP;
	}
	while (size > 0)
		if (p[--size] == (unsigned char)value) return (void *)(p + size);
	return NULL;
}

API size_t NAME(strlen)(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	Group zero = _mm_setzero_si128();
	size_t before = (uintptr_t)p % GROUP;
	unsigned found = equal(load_aligned(p - before), zero) >> before;
	if (found) return (size_t)__builtin_ctz(found);
	for (size_t done = GROUP - before;; done += GROUP) {
		found = equal(load_aligned(p + done), zero);
		if (found) return done + (size_t)__builtin_ctz(found);
	}
}

static inline int order(uint64_t a, uint64_t b)
{
	a = __builtin_bswap64(a);
	b = __builtin_bswap64(b);
	return a < b ? -1 : a > b;
}

API int NAME(memcmp)(const void *left, const void *right, size_t size)
{
	const unsigned char *a = left, *b = right;
	if (size >= GROUP) {
		size_t done = 0, last = size - GROUP;
		for (;;) {
			unsigned differ = equal(load(a + done), load(b + done)) ^ 0xffff;
			if (differ) {
				done += (size_t)__builtin_ctz(differ);
				return a[done] - b[done];
			}
			if (done == last) return 0;
			/* The last group may overlap the one before, whose bytes are equal. */
			done = last - done > GROUP ? done + GROUP : last;
		}
	}
	if (size >= 8) {
		int result = order(((const Word8 *)a)->v, ((const Word8 *)b)->v);
		return result ? result : order(((const Word8 *)(a + size - 8))->v, ((const Word8 *)(b + size - 8))->v);
	}
	if (size >= 4) {
		int result = order(((const Word4 *)a)->v, ((const Word4 *)b)->v);
		return result ? result : order(((const Word4 *)(a + size - 4))->v, ((const Word4 *)(b + size - 4))->v);
	}
	for (size_t i = 0; i < size; i++)
		if (a[i] != b[i]) return a[i] - b[i];
	return 0;
}

/* Up to two blocks are read whole before anything is written; longer ones go in the direction that never meets its own output. */
API void *NAME(memmove)(void *to, const void *from, size_t size)
{
	unsigned char *d = to;
	const unsigned char *s = from;
	if (size <= GROUP) {
		if (size >= 8) {
			uint64_t first = ((const Word8 *)s)->v, last = ((const Word8 *)(s + size - 8))->v;
			((Word8 *)d)->v = first;
			((Word8 *)(d + size - 8))->v = last;
		} else if (size >= 4) {
			uint32_t first = ((const Word4 *)s)->v, last = ((const Word4 *)(s + size - 4))->v;
			((Word4 *)d)->v = first;
			((Word4 *)(d + size - 4))->v = last;
		} else if (size >= 2) {
			uint16_t first = ((const Word2 *)s)->v, last = ((const Word2 *)(s + size - 2))->v;
			((Word2 *)d)->v = first;
			((Word2 *)(d + size - 2))->v = last;
		} else if (size == 1) {
			*d = *s;
		}
		return to;
	}
	if (size <= 2 * GROUP) {
		Group first = load(s), last = load(s + size - GROUP);
		store(d, first);
		store(d + size - GROUP, last);
		return to;
	}
	Group a = load(s), b = load(s + GROUP), y = load(s + size - 2 * GROUP), z = load(s + size - GROUP);
	if (size <= BLOCK) {
		store(d, a);
		store(d + GROUP, b);
		store(d + size - 2 * GROUP, y);
		store(d + size - GROUP, z);
		return to;
	}
	Group c = load(s + 2 * GROUP), e = load(s + 3 * GROUP);
	Group w = load(s + size - 4 * GROUP), x = load(s + size - 3 * GROUP);
	if ((uintptr_t)d - (uintptr_t)s >= size) {
		for (size_t done = 0; done < size - BLOCK; done += BLOCK) {
			Group g = load(s + done), h = load(s + done + GROUP), i = load(s + done + 2 * GROUP), j = load(s + done + 3 * GROUP);
			store(d + done, g);
			store(d + done + GROUP, h);
			store(d + done + 2 * GROUP, i);
			store(d + done + 3 * GROUP, j);
		}
		store(d + size - 4 * GROUP, w);
		store(d + size - 3 * GROUP, x);
		store(d + size - 2 * GROUP, y);
		store(d + size - GROUP, z);
	} else {
		for (size_t left = size; left > BLOCK; left -= BLOCK) {
			const unsigned char *p = s + left - BLOCK;
			unsigned char *q = d + left - BLOCK;
			Group g = load(p), h = load(p + GROUP), i = load(p + 2 * GROUP), j = load(p + 3 * GROUP);
			store(q, g);
			store(q + GROUP, h);
			store(q + 2 * GROUP, i);
			store(q + 3 * GROUP, j);
		}
		store(d, a);
		store(d + GROUP, b);
		store(d + 2 * GROUP, c);
		store(d + 3 * GROUP, e);
	}
	return to;
}

#ifdef __x86_64__
API void *memcpy(void *restrict to, const void *restrict from, size_t size) __attribute__((alias("memmove")));
#endif

API void *NAME(memset)(void *to, int value, size_t size)
{
	unsigned char *d = to;
	uint64_t pattern = 0x0101010101010101u * (unsigned char)value;
	if (size < GROUP) {
		if (size >= 8) {
			((Word8 *)d)->v = pattern;
			((Word8 *)(d + size - 8))->v = pattern;
		} else if (size >= 4) {
			((Word4 *)d)->v = (uint32_t)pattern;
			((Word4 *)(d + size - 4))->v = (uint32_t)pattern;
		} else {
			for (size_t i = 0; i < size; i++) d[i] = (unsigned char)value;
		}
		return to;
	}
	Group group = _mm_set1_epi8((char)value);
	for (size_t done = 0; done + GROUP < size; done += GROUP) store(d + done, group);
	store(d + size - GROUP, group);
	return to;
}
