// SPDX-License-Identifier: GPL-2.0-only
/*
 * inject.c - fail call sites of the plugin or of the pagescan command: preloaded (LD_PRELOAD), it stands before
 * every libc and library call that they make, notes each site, and fails the one that the test has chosen.
 *
 * A site is a return address in one of the two objects, so CRIU's own calls and those of libraries pass. The file named
 * by FAULTS is shared with the test and by all processes: the test's choice (several: what is called only after another
 * call has failed fails together with that one), and the sites seen so far. The keeper gets
 * preload and file through its execve(), has all it needs mapped before it confines itself, and then touches memory
 * only.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * name, what it returns when it fails, errno. All take and return integers and pointers, at most nine, which C passes
 * alike whatever their types and whether or not they are variable arguments.
 */
#define CALLS(X)                             \
	X(LZ4_compress_default, 0, 0)        \
	X(LZ4_decompress_safe, -1, 0)        \
	X(execl, -1, ENOMEM)                 \
	X(execvp, -1, ENOMEM)                \
	X(getcwd, 0, ENOMEM)                 \
	X(kill, -1, EPERM)                   \
	X(madvise, -1, ENOMEM)               \
	X(mkdtemp, 0, ENOSPC)                \
	X(mremap, -1, ENOMEM)                \
	X(nftw, -1, EACCES)                  \
	X(pipe, -1, EMFILE)                  \
	X(readlinkat, -1, EIO)               \
	X(copy_file_range, -1, EIO)          \
	X(realpath, 0, ENOMEM)               \
	X(send, -1, ENOBUFS)                 \
	X(socketpair, -1, EMFILE)            \
	X(writev, -1, EIO)                   \
	X(accept4, -1, EMFILE)               \
	X(access, -1, EACCES)                \
	X(bind, -1, EADDRINUSE)              \
	X(calloc, 0, ENOMEM)                 \
	X(capng_apply, -1, EPERM)            \
	X(capng_get_caps_process, -1, EPERM) \
	X(capng_have_capability, 0, 0)       \
	X(chdir, -1, EACCES)                 \
	X(clock_gettime, -1, EINVAL)         \
	X(connect, -1, EACCES)               \
	X(dladdr, 0, 0)                      \
	X(dladdr1, 0, 0)                     \
	X(dup, -1, EMFILE)                   \
	X(dup2, -1, EBUSY)                   \
	X(dup3, -1, EBUSY)                   \
	X(epoll_create1, -1, EMFILE)         \
	X(epoll_ctl, -1, ENOSPC)             \
	X(epoll_wait, -1, ENOMEM)            \
	X(eventfd, -1, EMFILE)               \
	X(execv, -1, ENOMEM)                 \
	X(faccessat, -1, EACCES)             \
	X(fchmodat, -1, EROFS)               \
	X(fcntl, -1, EMFILE)                 \
	X(fdopen, 0, ENOMEM)                 \
	X(fdopendir, 0, ENOMEM)              \
	X(fflush, -1, ENOSPC)                \
	X(fgets, 0, EIO)                     \
	X(flock, -1, ENOLCK)                 \
	X(fopen, 0, EMFILE)                  \
	X(fork, -1, EAGAIN)                  \
	X(fread, 0, EIO)                     \
	X(fstat, -1, ENOMEM)                 \
	X(fstatat, -1, EACCES)               \
	X(fstatfs, -1, EIO)                  \
	X(ftruncate, -1, ENOSPC)             \
	X(getline, -1, ENOMEM)               \
	X(__getdelim, -1, ENOMEM)            \
	X(getdelim, -1, ENOMEM)              \
	X(getaddrinfo, EAI_AGAIN, 0)         \
	X(getnameinfo, EAI_FAIL, 0)          \
	X(getrandom, -1, EAGAIN)             \
	X(getrlimit, -1, EPERM)              \
	X(getsockname, -1, ENOBUFS)          \
	X(getsockopt, -1, ENOBUFS)           \
	X(getxattr, -1, ENODATA)             \
	X(ioctl, -1, EPERM)                  \
	X(json_array, 0, ENOMEM)             \
	X(json_array_append_new, -1, ENOMEM) \
	X(json_dumpfd, -1, ENOSPC)           \
	X(json_dumpf, -1, ENOSPC)            \
	X(json_integer, 0, ENOMEM)           \
	X(json_loadfd, 0, EIO)               \
	X(json_object, 0, ENOMEM)            \
	X(json_object_set_new, -1, ENOMEM)   \
	X(json_string, 0, ENOMEM)            \
	X(json_stringn_nocheck, 0, ENOMEM)   \
	X(linkat, -1, EROFS)                 \
	X(listen, -1, EADDRINUSE)            \
	X(lseek, -1, EIO)                    \
	X(malloc, 0, ENOMEM)                 \
	X(memfd_create, -1, EMFILE)          \
	X(mkdir, -1, ENOSPC)                 \
	X(mkdirat, -1, ENOSPC)               \
	X(mmap, -1, ENOMEM)                  \
	X(mprotect, -1, ENOMEM)              \
	X(nanosleep, -1, EINTR)              \
	X(open, -1, EMFILE)                  \
	X(openat, -1, EMFILE)                \
	X(open_memstream, 0, ENOMEM)         \
	X(opendir, 0, EMFILE)                \
	X(pipe2, -1, EMFILE)                 \
	X(poll, -1, ENOMEM)                  \
	X(popen, 0, EMFILE)                  \
	X(prctl, -1, EINVAL)                 \
	X(pread, -1, EIO)                    \
	X(process_vm_readv, -1, EFAULT)      \
	X(protobuf_c_message_unpack, 0, 0)   \
	X(pthread_create, EAGAIN, 0)         \
	X(ptrace, -1, ESRCH)                 \
	X(pwrite, -1, ENOSPC)                \
	X(read, -1, EIO)                     \
	X(readdir, 0, ENOENT)                \
	X(readlink, -1, EACCES)              \
	X(realloc, 0, ENOMEM)                \
	X(reallocarray, 0, ENOMEM)           \
	X(recv, -1, ECONNRESET)              \
	X(recvmsg, -1, ENOMEM)               \
	X(rename, -1, ENOSPC)                \
	X(renameat, -1, ENOSPC)              \
	X(seccomp_init, 0, 0)                \
	X(seccomp_load, -ENOMEM, 0)          \
	X(seccomp_rule_add, -ENOMEM, 0)      \
	X(sendmsg, -1, ENOBUFS)              \
	X(setenv, -1, ENOMEM)                \
	X(setpriority, -1, EACCES)           \
	X(setitimer, -1, EINVAL)             \
	X(setrlimit, -1, EPERM)              \
	X(setsid, -1, EPERM)                 \
	X(setsockopt, -1, ENOBUFS)           \
	X(sigaction, -1, EINVAL)             \
	X(sigprocmask, -1, EINVAL)           \
	X(socket, -1, EMFILE)                \
	X(stat, -1, EACCES)                  \
	X(statx, -1, EACCES)                 \
	X(strdup, 0, ENOMEM)                 \
	X(strndup, 0, ENOMEM)                \
	X(symlinkat, -1, EROFS)              \
	X(syscall, -1, EPERM)                \
	X(uname, -1, EFAULT)                 \
	X(unlink, -1, EROFS)                 \
	X(unlinkat, -1, EROFS)               \
	X(waitpid, -1, EINTR)                \
	X(write, -1, ENOSPC)

/* CRIU's, which the plugin asks dlsym() for. */
#define CALLS_CRIU(X)               \
	X(compel_prepare, 0, EPERM) \
	X(compel_syscall, -1, EPERM)

/* The same; they have done their work when they fail. */
#define CALLS_DONE(X)         \
	X(fclose, -1, ENOSPC) \
	X(pclose, -1, ECHILD)

/* Written out below: with more arguments, or with something to do. */
#define CALLS_OTHER(X)          \
	X(asprintf, -1, ENOMEM) \
	X(dprintf, -1, ENOSPC)  \
	X(execve, -1, ENOMEM)   \
	X(fprintf, -1, ENOSPC)  \
	X(json_pack, 0, ENOMEM)

#define CALLS_FSCANF(X)              \
	X(__isoc99_fscanf, EOF, EIO) \
	X(__isoc23_fscanf, EOF, EIO)

enum call {
#define X(name, value, err) CALL_##name,
	CALLS(X) CALLS_CRIU(X) CALLS_DONE(X) CALLS_OTHER(X) CALLS_FSCANF(X)
#undef X
		NR_CALLS
};

/* For the test, which reads it out of this object. */
const char *const fault_calls[NR_CALLS + 1] = {
#define X(name, value, err) #name,
	CALLS(X) CALLS_CRIU(X) CALLS_DONE(X) CALLS_OTHER(X) CALLS_FSCANF(X)
#undef X
};

#define STEPS  24
#define FAULTS 4
#define SITES  1024

/* Shared with the test (run, class Plan). A site is object << 56 | call << 32 | offset; 0 is none. */
struct plan {
	_Atomic uint64_t step; /* of the chain, set by the test: visits are counted by it; 0: nothing happens */
	struct fault {
		uint64_t site;		 /* the one to fail */
		uint32_t only;		 /* fail in this step, 0: in each */
		uint32_t skip;		 /* so many visits pass */
		uint32_t always;	 /* every visit from then on fails */
		int32_t err;		 /* this errno instead of the call's own */
		_Atomic uint32_t due;	 /* visits of the site to fail */
		_Atomic uint32_t struck; /* failures so far */
	} faults[FAULTS];
	struct {
		_Atomic uint64_t site;
		_Atomic uint32_t visits[STEPS];
	} seen[SITES];
};

static struct plan *plan;
static const char *self_path, *plan_path;

/* The two objects; in one process there may be one of them. */
static struct {
	uintptr_t start;
	uintptr_t end;
	uint64_t number;
} ours;

typedef long function(long, long, long, long, long, long, long, long, long);

/* The loader itself allocates by these, before anything can be looked up. */
function __libc_malloc, __libc_calloc, __libc_realloc;
static function *real[NR_CALLS] = {
	[CALL_malloc] = __libc_malloc,
	[CALL_calloc] = __libc_calloc,
	[CALL_realloc] = __libc_realloc,
};
static void *(*real_dlsym)(void *handle, const char *name);
static void *(*json_vpack)(void *error, size_t flags, const char *format, va_list args);

static int find_object(struct dl_phdr_info *info, size_t size, void *first)
{
	const char *name = strrchr(info->dlpi_name, '/');
	uintptr_t end = 0;
	uint64_t number = 0;
	char path[4096];

	(void)size;
	if (name && !strcmp(name, "/pagescan_plugin.so")) {
		number = 1;
	} else if (*(bool *)first) { /* the program, which has no name here */
		ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);

		path[len > 0 ? len : 0] = '\0';
		name = strrchr(path, '/');
		number = name && !strcmp(name, "/pagescan") ? 2 : 0;
	}
	*(bool *)first = false;
	if (!number)
		return 0;
	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *phdr = &info->dlpi_phdr[i];

		if (phdr->p_type == PT_LOAD && phdr->p_vaddr + phdr->p_memsz > end)
			end = phdr->p_vaddr + phdr->p_memsz;
	}
	ours.start = info->dlpi_addr;
	ours.end = info->dlpi_addr + end;
	ours.number = number;
	return 1;
}

static void start(void)
{
	bool first = true;
	Dl_info self;
	void *at;
	int fd;

	/* dlsym is one of those that are stood before: compel's functions are found by it alone. */
	real_dlsym = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
	if (!real_dlsym)
		real_dlsym = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.17");
	for (size_t i = 0; i < NR_CALLS; i++) {
		if (!real[i])
			real[i] = (function *)real_dlsym(RTLD_NEXT, fault_calls[i]);
	}
	real[CALL_compel_prepare] = (function *)real_dlsym(RTLD_DEFAULT, "compel_prepare");
	real[CALL_compel_syscall] = (function *)real_dlsym(RTLD_DEFAULT, "compel_syscall");
	*(void **)&json_vpack = real_dlsym(RTLD_NEXT, "json_vpack_ex");

	plan_path = getenv("FAULTS");
	if (!plan_path)
		return;
	plan_path = strdup(plan_path); /* the environment may change */
	dladdr((void *)start, &self);
	self_path = self.dli_fname;
	dl_iterate_phdr(find_object, &first);
	/* A shell between the command and criu has the plugin, too. */
	if (!ours.number || (ours.number == 1 && !real[CALL_compel_prepare]))
		return;
	fd = open(plan_path, O_RDWR | O_CLOEXEC);
	at = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (at == MAP_FAILED) {
		perror(plan_path);
		_exit(126);
	}
	plan = at;
}

/* The first call of any library that is not the loader's begins; those made meanwhile pass. */
static void begin(void)
{
	static enum { NO, BEGINNING, YES } begun;

	if (begun)
		return;
	begun = BEGINNING;
	start();
	begun = YES;
}

static void count(uint64_t site, uint64_t step)
{
	for (size_t i = site % SITES;; i = (i + 1) % SITES) {
		uint64_t there = 0;

		if (atomic_compare_exchange_strong(&plan->seen[i].site, &there, site) || there == site) {
			atomic_fetch_add(&plan->seen[i].visits[step], 1);
			return;
		}
	}
}

/* Is it this one's turn to fail? */
static bool strikes(struct fault *fault, uint64_t site, uint64_t step)
{
	uint32_t due;

	if (site != fault->site || (fault->only && fault->only != step))
		return false;
	due = atomic_fetch_add(&fault->due, 1);
	if (due < fault->skip || (due > fault->skip && !fault->always))
		return false;
	atomic_fetch_add(&fault->struck, 1);
	return true;
}

static bool struck(enum call call, const void *from, int err)
{
	uintptr_t at = (uintptr_t)from;
	uint64_t site, step;
	int saved;

	if (call != CALL_malloc && call != CALL_calloc && call != CALL_realloc) {
		saved = errno;
		begin();
		errno = saved;
	}
	if (!plan || at < ours.start || at >= ours.end)
		return false;
	step = atomic_load(&plan->step);
	if (!step)
		return false;
	site = ours.number << 56 | (uint64_t)call << 32 | (at - ours.start);
	count(site, step);
	for (size_t i = 0; i < FAULTS; i++) {
		if (!strikes(&plan->faults[i], site, step))
			continue;
		errno = plan->faults[i].err ? plan->faults[i].err : err;
		return true;
	}
	return false;
}

#define FROM __builtin_return_address(0)

/* Under another name in C, so that no header has to agree. */
#define X(name, value, err)                                                                                   \
	VISIBILITY function call_##name __asm__(#name);                                                       \
	long call_##name(long a, long b, long c, long d, long e, long f, long g, long h, long i)              \
	{                                                                                                     \
		return struck(CALL_##name, FROM, err) ? value : real[CALL_##name](a, b, c, d, e, f, g, h, i); \
	}
#define VISIBILITY
CALLS(X)
#undef VISIBILITY
#define VISIBILITY __attribute__((visibility("hidden")))
CALLS_CRIU(X)
#undef VISIBILITY
#undef X

#define X(name, value, err)                                              \
	long call_##name(long) __asm__(#name);                           \
	long call_##name(long a)                                         \
	{                                                                \
		bool fails = struck(CALL_##name, FROM, err);             \
		int saved = errno;                                       \
		long got = real[CALL_##name](a, 0, 0, 0, 0, 0, 0, 0, 0); \
                                                                         \
		if (!fails)                                              \
			return got;                                      \
		errno = saved;                                           \
		return value;                                            \
	}
CALLS_DONE(X)
#undef X

void *call_dlsym(void *handle, const char *name) __asm__("dlsym");
void *call_dlsym(void *handle, const char *name)
{
	uintptr_t at = (uintptr_t)FROM;

	begin();
	if (plan && at >= ours.start && at < ours.end) {
		if (!strcmp(name, "compel_prepare"))
			return (void *)call_compel_prepare;
		if (!strcmp(name, "compel_syscall"))
			return (void *)call_compel_syscall;
	}
	return real_dlsym(handle, name);
}

int call_asprintf(char **text, const char *format, ...) __asm__("asprintf");
int call_asprintf(char **text, const char *format, ...)
{
	va_list args;
	int got;

	if (struck(CALL_asprintf, FROM, ENOMEM)) {
		*text = (char *)-4096L; /* asprintf(3): the contents are undefined */
		return -1;
	}
	va_start(args, format);
	got = vasprintf(text, format, args);
	va_end(args);
	return got;
}

int call_dprintf(int fd, const char *format, ...) __asm__("dprintf");
int call_dprintf(int fd, const char *format, ...)
{
	va_list args;
	int got;

	if (struck(CALL_dprintf, FROM, ENOSPC))
		return -1;
	va_start(args, format);
	got = vdprintf(fd, format, args);
	va_end(args);
	return got;
}

int call_fprintf(FILE *file, const char *format, ...) __asm__("fprintf");
int call_fprintf(FILE *file, const char *format, ...)
{
	va_list args;
	int got;

	if (struck(CALL_fprintf, FROM, ENOSPC)) {
		file->_flags |= _IO_ERR_SEEN; /* as ferror(3) would tell */
		return -1;
	}
	va_start(args, format);
	got = vfprintf(file, format, args);
	va_end(args);
	return got;
}

/* The C library has one for each standard of C. */
#define X(name, value, err)                                        \
	int call_##name(FILE *, const char *, ...) __asm__(#name); \
	int call_##name(FILE *file, const char *format, ...)       \
	{                                                          \
		va_list args;                                      \
		int got;                                           \
                                                                   \
		if (struck(CALL_##name, FROM, err))                \
			return value;                              \
		va_start(args, format);                            \
		got = vfscanf(file, format, args);                 \
		va_end(args);                                      \
		return got;                                        \
	}
CALLS_FSCANF(X)
#undef X

void *call_json_pack(const char *format, ...) __asm__("json_pack");
void *call_json_pack(const char *format, ...)
{
	va_list args;
	void *got;

	if (struck(CALL_json_pack, FROM, ENOMEM))
		return NULL;
	va_start(args, format);
	got = json_vpack(NULL, 0, format, args);
	va_end(args);
	return got;
}

/* The keeper begins with an empty environment. */
int call_execve(const char *path, char *const *argv, char *const *env) __asm__("execve");
int call_execve(const char *path, char *const *argv, char *const *env)
{
	char preload[4200], faults[4200];
	char *list[4] = { preload, faults };

	if (struck(CALL_execve, FROM, ENOMEM))
		return -1;
	if (plan) {
		snprintf(preload, sizeof(preload), "LD_PRELOAD=%s", self_path);
		snprintf(faults, sizeof(faults), "FAULTS=%s", plan_path);
		list[2] = env[0];
		env = list;
	}
	return (int)real[CALL_execve]((long)path, (long)argv, (long)env, 0, 0, 0, 0, 0, 0);
}
