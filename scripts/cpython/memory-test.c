/*
 * Proves memory.c, and on x86 memory-x86.c in both of its ways, against the plainest possible versions: every size up to 400 at every
 * distance from a page that must not be touched, before and after, with every overlap of a move. Ends with 0 and a line, or names the
 * first failure.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void *memrchr(const void *, int, size_t);

/* Of memory-x86.c, where that is linked: whether it uses SSE2. */
extern int memory_sse2 __attribute__((weak));

enum { PAGE = 4096, SIZES = 400 };

static unsigned char *between_forbidden_pages(void)
{
	unsigned char *p = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || mprotect(p + PAGE, PAGE, PROT_READ | PROT_WRITE)) exit(2);
	return p + PAGE;
}

static void require(int right, const char *what, size_t size, size_t at)
{
	if (right) return;
	printf("memory-test: %s is wrong, size %zu at %zu\n", what, size, at);
	exit(1);
}

static int sign(int n) { return (n > 0) - (n < 0); }

static int plain_order(const unsigned char *a, const unsigned char *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
	return 0;
}

static unsigned state = 1;
static unsigned char noise(void) { state = state * 1103515245 + 12345; return (unsigned char)(state >> 16); }

static void fill(unsigned char *p) { for (int i = 0; i < PAGE; i++) p[i] = noise(); }

static int prove(void)
{
	unsigned char *a = between_forbidden_pages(), *b = between_forbidden_pages();
	static unsigned char copy[PAGE];

	for (size_t size = 0; size <= SIZES; size++) {
		for (int shift = 0; shift < 70; shift++) {
			/* From both ends of the page, so that one byte too many is a fault. */
			for (int end = 0; end < 2; end++) {
				size_t at = end ? PAGE - size - (size_t)shift : (size_t)shift;
				unsigned char *p = a + at, *q = b + (end ? PAGE - size : 0);

				for (int i = 0; i < PAGE; i++) a[i] = 1, b[i] = 1;
				require(memchr(p, 2, size) == NULL && memrchr(p, 2, size) == NULL, "search for nothing", size, at);
				/* What lies just outside must not be found. */
				if (at > 0) p[-1] = 2;
				if (at + size < PAGE) p[size] = 2;
				require(memchr(p, 2, size) == NULL && memrchr(p, 2, size) == NULL, "search outside", size, at);
				for (size_t hit = 0; hit < size; hit += 1 + hit / 7) {
					p[hit] = 2;
					require(memchr(p, 2, size) == p + hit && memchr(p, 2 + 256, SIZE_MAX / 2) == p + hit, "memchr", size, at);
					require(memrchr(p, 2, size) == p + hit, "memrchr", size, at);
					p[hit] = 0;
					require(strlen((char *)p) == hit, "strlen", hit, at);
					p[hit] = 1;
					/* One difference, to both sides, and one behind it that does not count. */
					p[hit] = 200;
					if (hit + 1 < size) q[hit + 1] = 255;
					require(sign(memcmp(p, q, size)) == 1 && sign(memcmp(q, p, size)) == -1, "memcmp", size, at);
					require(sign(memcmp(p, q, size)) == plain_order(p, q, size), "memcmp", size, at);
					p[hit] = 1;
					if (hit + 1 < size) q[hit + 1] = 1;
				}
				require(memcmp(p, q, size) == 0, "memcmp of equals", size, at);

				fill(a);
				memcpy(copy, a, PAGE);
				require(memset(p, shift, size) == p, "memset", size, at);
				for (size_t i = 0; i < PAGE; i++)
					require(a[i] == (i >= at && i < at + size ? (unsigned char)shift : copy[i]), "memset", size, at);
			}
		}
	}

	for (size_t size = 0; size <= SIZES; size++) {
		for (int distance = -(int)SIZES; distance <= (int)SIZES; distance += size < 140 ? 1 : 7) {
			fill(a);
			for (int i = 0; i < PAGE; i++) copy[i] = a[i];
			size_t from = 1000, to = (size_t)(1000 + distance);
			require(memmove(a + to, a + from, size) == a + to, "memmove", size, to);
			for (size_t i = 0; i < PAGE; i++)
				require(a[i] == (i >= to && i < to + size ? copy[from + i - to] : copy[i]), "memmove", size, to);
		}
		/* Both operands against the ends of their pages. */
		fill(b);
		require(memcpy(a + PAGE - size, b, size) == a + PAGE - size && plain_order(a + PAGE - size, b, size) == 0, "memcpy", size, 0);
		require(memcpy(a, b + PAGE - size, size) == a && plain_order(a, b + PAGE - size, size) == 0, "memcpy", size, 1);
	}

	size_t large = 3 * 1024 * 1024 + 13;
	unsigned char *m = malloc(2 * large);
	if (!m) return 2;
	for (size_t i = 0; i < 2 * large; i++) m[i] = noise();
	unsigned char *n = malloc(2 * large);
	if (!n) return 2;
	for (size_t i = 0; i < 2 * large; i++) n[i] = m[i];
	memmove(m + 5, m, large);
	require(plain_order(m + 5, n, large) == 0 && plain_order(m, n, 5) == 0, "memmove up", large, 5);
	memmove(m, m + 5, large);
	require(plain_order(m, n, large) == 0, "memmove down", large, 5);
	free(m);
	free(n);
	return 0;
}

int main(void)
{
	int bad = prove();
	if (!bad && &memory_sse2 && memory_sse2) {
		memory_sse2 = 0;
		bad = prove();
	}
	if (!bad) puts("memory-test: all right");
	return bad;
}
