/*
 * Memory and string functions for x86: those of memory.c where the processor has SSE2, otherwise a word at a time. i686 promises no
 * SSE2, and musl's loader knows no ifunc; so each call asks a variable, which costs a branch that is always foretold.
 *
 * Always holds: as in memory.c. Words that are read beyond an operand are aligned and hold a byte of it, hence on no other page.
 *
 * Compile with -fno-builtin -fno-tree-loop-distribute-patterns, or the compiler makes these functions call themselves.
 */
#include <cpuid.h>
#include <stddef.h>
#include <stdint.h>

#define API __attribute__((visibility("default")))
#define HIDDEN __attribute__((visibility("hidden")))

void *memchr_sse2(const void *, int, size_t) HIDDEN;
void *memrchr_sse2(const void *, int, size_t) HIDDEN;
size_t strlen_sse2(const char *) HIDDEN;
int memcmp_sse2(const void *, const void *, size_t) HIDDEN;
void *memmove_sse2(void *, const void *, size_t) HIDDEN;
void *memset_sse2(void *, int, size_t) HIDDEN;

/* Set before main runs; until then, and where it stays 0, words do. memory-test.c sets it to prove both. */
HIDDEN int memory_sse2;

__attribute__((constructor)) static void ask_processor(void)
{
	unsigned a, b, c, d;
	memory_sse2 = __get_cpuid(1, &a, &b, &c, &d) && (d & bit_SSE2);
}

typedef uint32_t Aligned __attribute__((may_alias));
typedef struct { uint32_t v; } __attribute__((packed, may_alias)) Word;
enum { WORD = sizeof(uint32_t) };

static const uint32_t ones = 0x01010101, tops = 0x80808080;

/* Nonzero where a byte of the word is zero; the lowest such byte is marked right, higher ones perhaps wrongly. */
static inline uint32_t zeros(uint32_t word) { return (word - ones) & ~word & tops; }

API void *memchr(const void *start, int value, size_t size)
{
	if (memory_sse2) return memchr_sse2(start, value, size);
	const unsigned char *p = start;
	unsigned char wanted = (unsigned char)value;
	for (; size && (uintptr_t)p % WORD; p++, size--)
		if (*p == wanted) return (void *)p;
	uint32_t pattern = ones * wanted;
	for (; size >= WORD && !zeros(*(const Aligned *)p ^ pattern); p += WORD) size -= WORD;
	for (; size; p++, size--)
		if (*p == wanted) return (void *)p;
	return NULL;
}

API void *memrchr(const void *start, int value, size_t size)
{
	if (memory_sse2) return memrchr_sse2(start, value, size);
	const unsigned char *p = start;
	unsigned char wanted = (unsigned char)value;
	for (; size && (uintptr_t)(p + size) % WORD; size--)
		if (p[size - 1] == wanted) return (void *)(p + size - 1);
	uint32_t pattern = ones * wanted;
	while (size >= WORD && !zeros(*(const Aligned *)(p + size - WORD) ^ pattern)) size -= WORD;
	for (; size; size--)
		if (p[size - 1] == wanted) return (void *)(p + size - 1);
	return NULL;
}

API size_t strlen(const char *text)
{
	if (memory_sse2) return strlen_sse2(text);
	const char *p = text;
	for (; (uintptr_t)p % WORD; p++)
		if (!*p) return (size_t)(p - text);
	while (!zeros(*(const Aligned *)p)) p += WORD;
	while (*p) p++;
	return (size_t)(p - text);
}

API int memcmp(const void *left, const void *right, size_t size)
{
	if (memory_sse2) return memcmp_sse2(left, right, size);
	const unsigned char *a = left, *b = right;
	for (; size >= WORD; a += WORD, b += WORD, size -= WORD)
		if (((const Word *)a)->v != ((const Word *)b)->v) break;
	for (; size; a++, b++, size--)
		if (*a != *b) return *a - *b;
	return 0;
}

API void *memmove(void *to, const void *from, size_t size)
{
	if (memory_sse2) return memmove_sse2(to, from, size);
	unsigned char *d = to;
	const unsigned char *s = from;
	if ((uintptr_t)d - (uintptr_t)s >= size) {
		for (; size >= 2 * WORD; d += 2 * WORD, s += 2 * WORD, size -= 2 * WORD) {
			uint32_t first = ((const Word *)s)->v, second = ((const Word *)(s + WORD))->v;
			((Word *)d)->v = first;
			((Word *)(d + WORD))->v = second;
		}
		for (; size; size--) *d++ = *s++;
	} else {
		for (; size >= 2 * WORD; size -= 2 * WORD) {
			uint32_t last = ((const Word *)(s + size - WORD))->v, other = ((const Word *)(s + size - 2 * WORD))->v;
			((Word *)(d + size - WORD))->v = last;
			((Word *)(d + size - 2 * WORD))->v = other;
		}
		for (; size; size--) d[size - 1] = s[size - 1];
	}
	return to;
}

API void *memcpy(void *restrict to, const void *restrict from, size_t size) __attribute__((alias("memmove")));

API void *memset(void *to, int value, size_t size)
{
	if (memory_sse2) return memset_sse2(to, value, size);
	unsigned char *d = to;
	uint32_t pattern = ones * (unsigned char)value;
	for (; size >= WORD; d += WORD, size -= WORD) ((Word *)d)->v = pattern;
	for (; size; size--) *d++ = (unsigned char)value;
	return to;
}
