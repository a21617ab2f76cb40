/*
 * What the compiler's libgcov.a for i686 asks of glibc and musl calls otherwise: there files are large always, and names for that are
 * not to be linked against. Types and constants are the same on both sides (struct flock and F_SETLKW with 64-bit offsets: 14).
 * Linked into the interpreter that trains, and only there.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>

_Static_assert(sizeof(off_t) == 8 && F_SETLKW == 14, "as libgcov.a was compiled");

FILE *fopen64(const char *path, const char *mode) { return fopen(path, mode); }

void *mmap64(void *at, size_t size, int protection, int flags, int file, off_t offset)
{
	return mmap(at, size, protection, flags, file, offset);
}

int open64(const char *path, int flags, ...)
{
	va_list rest;
	va_start(rest, flags);
	mode_t mode = va_arg(rest, mode_t);
	va_end(rest);
	return open(path, flags, mode);
}

int fcntl64(int file, int command, ...)
{
	va_list rest;
	va_start(rest, command);
	void *argument = va_arg(rest, void *);
	va_end(rest);
	return fcntl(file, command, argument);
}
