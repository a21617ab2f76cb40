/*
 * The entry of the interpreter: a PT_INTERP that is relative to the program.
 *
 * The kernel takes a dynamic loader by absolute path only, and ours lies in a tree that may be anywhere. So bin/python3.X has no
 * PT_INTERP; its e_entry is `dockless_entry`. That maps ../shared_libraries/lib/libc.so (musl: loader and library in one file) as the
 * kernel would have mapped it, writes its base and the program's real entry into the auxiliary vector, and jumps to it. There is one
 * process image and one exec: /proc/self/exe, ps, debuggers see python3.X.
 *
 * Always holds: nothing of a C library runs here, there is no relocation to apply and no writable global; the stack the loader gets is
 * the one the kernel made. When somebody else has loaded the program already (AT_BASE is set, or `libc.so python3.X` ran it), this
 * steps aside.
 *
 * Where libc.so is looked for, in this order:
 *   1. beside the program: the directory of /proc/self/exe, of AT_EXECFN, and without /proc of argv[0] (right for a "#!" line);
 *   2. for a program that was copied into a virtual environment: the directory `home` of its pyvenv.cfg;
 *   3. /opt/python, where the tree lives when nobody moved it.
 * A set-user-id program looks at 1. (by /proc only) and 3.
 *
 * Compile with -ffreestanding -fno-builtin -fno-tree-loop-distribute-patterns -fno-stack-protector.
 */
#include <elf.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define LIBC "/../shared_libraries/lib/libc.so"
#define HOME_OF_LAST_RESORT "/opt/python/bin"

enum { PATH_SIZE = 4096, LINKS_MAX = 40, HEADERS_SIZE = 1024 };

#if defined(__x86_64__)
typedef Elf64_Ehdr Header;
typedef Elf64_Phdr Segment;
#define CLASS ELFCLASS64
#define MACHINE EM_X86_64
#define NR_MAP SYS_mmap
#define MAP_OFFSET(bytes) (bytes)

/* The kernel leaves the stack pointer at argc. rbx and r12 survive the call and keep it and rdx (a function for atexit, or 0). */
__asm__(".text\n"
        ".globl dockless_entry\n"
        ".hidden dockless_entry\n"
        ".type dockless_entry,@function\n"
        "dockless_entry:\n"
        "	xor %ebp, %ebp\n"
        "	mov %rsp, %rbx\n"
        "	mov %rdx, %r12\n"
        "	mov %rsp, %rdi\n"
        "	and $-16, %rsp\n"
        "	call dockless_load\n"
        "	mov %rbx, %rsp\n"
        "	mov %r12, %rdx\n"
        "	jmp *%rax\n"
        ".size dockless_entry, .-dockless_entry\n");

static long call(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;
	__asm__ volatile("syscall" : "=a"(result)
	                 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return result;
}
#elif defined(__i386__)
typedef Elf32_Ehdr Header;
typedef Elf32_Phdr Segment;
#define CLASS ELFCLASS32
#define MACHINE EM_386
#define NR_MAP SYS_mmap2
#define MAP_OFFSET(bytes) ((bytes) >> 12) /* mmap2 counts in 4096 bytes whatever the page is */

__asm__(".text\n"
        ".globl dockless_entry\n"
        ".hidden dockless_entry\n"
        ".type dockless_entry,@function\n"
        "dockless_entry:\n"
        "	xor %ebp, %ebp\n"
        "	mov %esp, %ebx\n"
        "	mov %edx, %esi\n"
        "	and $-16, %esp\n"
        "	sub $12, %esp\n"
        "	push %ebx\n"
        "	call dockless_load\n"
        "	mov %ebx, %esp\n"
        "	mov %esi, %edx\n"
        "	jmp *%eax\n"
        ".size dockless_entry, .-dockless_entry\n");

/* Six arguments need ebp, which the compiler may be using: they travel by memory. */
static long call(long number, long a, long b, long c, long d, long e, long f)
{
	long argument[7] = { number, a, b, c, d, e, f };
	long result;
	__asm__ volatile("push %%ebx\n\t"
	                 "push %%ebp\n\t"
	                 "mov  4(%%eax), %%ebx\n\t"
	                 "mov  8(%%eax), %%ecx\n\t"
	                 "mov 12(%%eax), %%edx\n\t"
	                 "mov 16(%%eax), %%esi\n\t"
	                 "mov 20(%%eax), %%edi\n\t"
	                 "mov 24(%%eax), %%ebp\n\t"
	                 "mov  0(%%eax), %%eax\n\t"
	                 "int $0x80\n\t"
	                 "pop %%ebp\n\t"
	                 "pop %%ebx"
	                 : "=a"(result) : "a"(argument) : "ecx", "edx", "esi", "edi", "memory");
	return result;
}
#else
#error "this architecture has no entry yet"
#endif

extern __attribute__((visibility("hidden"))) void _start(void);
extern __attribute__((visibility("hidden"))) void dockless_entry(void);
__attribute__((visibility("hidden"))) uintptr_t dockless_load(uintptr_t *stack);

static int failed(long result) { return (unsigned long)result > -4096UL; }

static long open_file(const char *path) { return call(SYS_open, (long)path, O_RDONLY | O_CLOEXEC, 0, 0, 0, 0); }

static void close_file(long file) { call(SYS_close, file, 0, 0, 0, 0, 0); }

static long map(uintptr_t at, size_t size, int protection, int flags, long file, uintptr_t offset)
{
	return call(NR_MAP, (long)at, (long)size, protection, flags, file, (long)MAP_OFFSET(offset));
}

static size_t length(const char *text)
{
	size_t n = 0;
	while (text[n]) n++;
	return n;
}

static void print(const char *text) { call(SYS_write, 2, (long)text, (long)length(text), 0, 0, 0); }

static _Noreturn void die(const char *why, const char *operand)
{
	print("python: ");
	print(why);
	print(operand);
	print("\n");
	for (;;) call(SYS_exit_group, 127, 0, 0, 0, 0, 0);
}

/* Appends to a path of `used` bytes. Returns the new length, or 0 when it does not fit. */
static size_t append(char path[PATH_SIZE], size_t used, const char *text, size_t size)
{
	if (size >= PATH_SIZE - used) return 0;
	for (size_t i = 0; i < size; i++) path[used + i] = text[i];
	path[used + size] = 0;
	return used + size;
}

/* Bytes of the directory in `path`, without its slash: "bin/python" -> 3, "/python" -> 0 (then "" + LIBC is right), none -> -1. */
static long directory(const char *path)
{
	long slash = -1;
	for (long i = 0; path[i]; i++)
		if (path[i] == '/') slash = i;
	return slash;
}

/* Opens LIBC beside a directory given by its first bytes. */
static long open_beside(const char *directory_path, size_t size)
{
	char path[PATH_SIZE];
	size_t used = append(path, 0, directory_path, size);
	if ((size && !used) || !append(path, used, LIBC, sizeof LIBC - 1)) return -1;
	return open_file(path);
}

static int blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

/* The value of `home` in one pyvenv.cfg, a file of "key = value" lines; then LIBC beside it. */
static long open_by_config(const char *config)
{
	char text[PATH_SIZE];
	long file = open_file(config);
	if (failed(file)) return -1;
	long size = call(SYS_read, file, (long)text, sizeof text - 1, 0, 0, 0);
	close_file(file);
	if (failed(size)) return -1;
	text[size] = 0;
	for (char *line = text; *line;) {
		char *end = line;
		while (*end && *end != '\n') end++;
		char *c = line;
		while (blank(*c)) c++;
		if (c[0] == 'h' && c[1] == 'o' && c[2] == 'm' && c[3] == 'e') {
			c += 4;
			while (blank(*c)) c++;
			if (*c == '=') {
				c++;
				while (blank(*c)) c++;
				char *last = end;
				while (last > c && blank(last[-1])) last--;
				return open_beside(c, (size_t)(last - c));
			}
		}
		line = *end ? end + 1 : end;
	}
	return -1;
}

/* LIBC for a program known by its path: beside it, or where the pyvenv.cfg above it or beside it points. */
static long open_for_program(const char *program)
{
	static const char above[] = "/../pyvenv.cfg", beside[] = "/pyvenv.cfg";
	char config[PATH_SIZE];
	long bytes = directory(program);
	if (bytes < 0) return -1;
	long file = open_beside(program, (size_t)bytes);
	if (!failed(file)) return file;
	size_t used = append(config, 0, program, (size_t)bytes);
	if (append(config, used, above, sizeof above - 1) && !failed(file = open_by_config(config))) return file;
	if (append(config, used, beside, sizeof beside - 1) && !failed(file = open_by_config(config))) return file;
	return -1;
}

/* The same for a path that may be a symbolic link; /proc/self/exe needs no such care. */
static long open_through_links(const char *program)
{
	char path[PATH_SIZE], target[PATH_SIZE];
	if (!append(path, 0, program, length(program))) return -1;
	for (int hops = 0; hops < LINKS_MAX; hops++) {
		long file = open_for_program(path);
		if (!failed(file)) return file;
		long size = call(SYS_readlink, (long)path, (long)target, sizeof target - 1, 0, 0, 0);
		if (failed(size) || size == 0) return -1;
		target[size] = 0;
		long bytes = target[0] == '/' ? 0 : directory(path) + 1;
		if (!append(path, (size_t)bytes, target, (size_t)size)) return -1;
	}
	return -1;
}

/* Maps the loader's segments; returns what has to be added to its addresses. Leaves the entry in *entry. */
static uintptr_t map_loader(long file, uintptr_t page, uintptr_t *entry)
{
	union { Header header; unsigned char bytes[HEADERS_SIZE]; } head;
	const Header *header = &head.header;
	long size = call(SYS_read, file, (long)&head, sizeof head, 0, 0, 0);
	if (failed(size) || size < (long)sizeof *header || header->e_ident[0] != 0x7f || header->e_ident[1] != 'E' ||
	    header->e_ident[2] != 'L' || header->e_ident[3] != 'F' || header->e_ident[EI_CLASS] != CLASS ||
	    header->e_machine != MACHINE || header->e_type != ET_DYN || header->e_phentsize != sizeof(Segment) ||
	    header->e_phoff > (unsigned long)size || header->e_phnum > ((unsigned long)size - header->e_phoff) / sizeof(Segment))
		die("this is not the libc.so of this program: ..", LIBC);

	const Segment *segment = (const Segment *)(head.bytes + header->e_phoff);
	uintptr_t low = UINTPTR_MAX, high = 0, mask = ~(page - 1);
	for (int i = 0; i < header->e_phnum; i++) {
		if (segment[i].p_type != PT_LOAD) continue;
		if (segment[i].p_vaddr < low) low = segment[i].p_vaddr;
		if (segment[i].p_vaddr + segment[i].p_memsz > high) high = segment[i].p_vaddr + segment[i].p_memsz;
	}
	low &= mask;
	high = (high + page - 1) & mask;
	if (low >= high) die("nothing to load in ..", LIBC);

	/* One reservation for all, so that no other mapping comes between the segments. */
	long reserved = map(0, high - low, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (failed(reserved)) die("no address space for ..", LIBC);
	uintptr_t base = (uintptr_t)reserved - low;

	for (int i = 0; i < header->e_phnum; i++) {
		if (segment[i].p_type != PT_LOAD) continue;
		int protection = (segment[i].p_flags & PF_R ? PROT_READ : 0) | (segment[i].p_flags & PF_W ? PROT_WRITE : 0) |
		                 (segment[i].p_flags & PF_X ? PROT_EXEC : 0);
		uintptr_t start = (base + segment[i].p_vaddr) & mask;
		uintptr_t file_end = base + segment[i].p_vaddr + segment[i].p_filesz;
		uintptr_t file_pages_end = (file_end + page - 1) & mask;
		uintptr_t memory_end = (base + segment[i].p_vaddr + segment[i].p_memsz + page - 1) & mask;
		if (segment[i].p_filesz &&
		    failed(map(start, file_pages_end - start, protection, MAP_PRIVATE | MAP_FIXED, file, segment[i].p_offset & mask)))
			die("cannot map ..", LIBC);
		if (segment[i].p_memsz > segment[i].p_filesz) {
			/* The rest of the last page holds what follows in the file; memory beyond it is fresh. */
			if (segment[i].p_filesz)
				for (unsigned char *c = (unsigned char *)file_end; c < (unsigned char *)file_pages_end; c++) *c = 0;
			if (memory_end > file_pages_end && failed(map(file_pages_end, memory_end - file_pages_end, protection,
			                                              MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0)))
				die("no memory for ..", LIBC);
		}
	}
	*entry = base + header->e_entry;
	return base;
}

/* stack: argc, argv[argc], 0, environment, 0, pairs of the auxiliary vector. Returns the address to go on at. */
uintptr_t dockless_load(uintptr_t *stack)
{
	uintptr_t argc = stack[0];
	const char *argv0 = argc ? (const char *)stack[1] : "";
	uintptr_t *vector = stack + 1 + argc + 1;
	while (*vector) vector++;
	vector++;

	uintptr_t *loader_base = NULL, *program_entry = NULL, page = 4096, secure = 0;
	const char *executed = NULL;
	for (; vector[0] != AT_NULL; vector += 2) {
		switch (vector[0]) {
		case AT_BASE: loader_base = &vector[1]; break;
		case AT_ENTRY: program_entry = &vector[1]; break;
		case AT_PAGESZ: page = vector[1]; break;
		case AT_SECURE: secure = vector[1]; break;
		case AT_EXECFN: executed = (const char *)vector[1]; break;
		}
	}
	if (!loader_base || !program_entry || *loader_base || *program_entry != (uintptr_t)dockless_entry)
		return (uintptr_t)_start;

	char program[PATH_SIZE];
	long file = -1;
	long size = call(SYS_readlink, (long)"/proc/self/exe", (long)program, sizeof program - 1, 0, 0, 0);
	if (!failed(size)) {
		program[size] = 0;
		file = secure ? open_beside(program, (size_t)directory(program)) : open_for_program(program);
	}
	if (failed(file) && executed && !secure) file = open_through_links(executed);
	if (failed(file) && failed(size) && !secure) file = open_through_links(argv0);
	if (failed(file)) file = open_beside(HOME_OF_LAST_RESORT, sizeof HOME_OF_LAST_RESORT - 1);
	if (failed(file)) die("no shared_libraries/lib/libc.so belongs to ", failed(size) ? (executed ? executed : argv0) : program);

	uintptr_t entry;
	uintptr_t base = map_loader(file, page, &entry);
	close_file(file);
	*loader_base = base;
	*program_entry = (uintptr_t)_start;
	return entry;
}
