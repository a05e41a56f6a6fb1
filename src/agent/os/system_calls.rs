//! The layer of seccomp (seccomp(2)): which system calls a module's process may use, and with which arguments.
//!
//! What is not named here fails with ENOSYS, as it would on an older kernel: libraries then take the older call, and `clone3`
//! and `openat2`, whose arguments a filter cannot see, become `clone` and `openat`, whose arguments it can. So a file is opened
//! for reading only, whatever the other layers do, and asynchronous requests (io_uring), which no filter sees, are none.
//!
//! A process that uses the calls of another architecture than its own is killed. Those with 32-bit pointers (x32) are not
//! named, as their numbers are others. `tests/programs/confine.rs` tries what is not named.

use crate::modules::Needs;
use libc::c_long;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use std::collections::BTreeMap;

/// Memory, threads, clocks, the process's own signals, what it has open, and looking at files.
#[rustfmt::skip]
const ALWAYS: &[c_long] = &[
    libc::SYS_brk, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_membarrier,
    libc::SYS_futex, libc::SYS_set_robust_list, libc::SYS_set_tid_address, libc::SYS_rseq, libc::SYS_exit,
    libc::SYS_exit_group, libc::SYS_restart_syscall, libc::SYS_sched_yield, libc::SYS_sched_getaffinity, libc::SYS_getcpu,
    libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_clock_nanosleep, libc::SYS_nanosleep,
    libc::SYS_gettimeofday, libc::SYS_times, libc::SYS_getrusage,
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_rt_sigpending,
    libc::SYS_rt_sigtimedwait, libc::SYS_sigaltstack,
    libc::SYS_getpid, libc::SYS_getppid, libc::SYS_gettid, libc::SYS_getpgid, libc::SYS_getsid, libc::SYS_getuid,
    libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid, libc::SYS_getgroups, libc::SYS_getresuid,
    libc::SYS_getresgid, libc::SYS_getpriority, libc::SYS_capget, libc::SYS_uname, libc::SYS_sysinfo, libc::SYS_getrandom,
    libc::SYS_read, libc::SYS_readv, libc::SYS_pread64, libc::SYS_preadv, libc::SYS_write, libc::SYS_writev,
    libc::SYS_lseek, libc::SYS_close, libc::SYS_close_range, libc::SYS_dup, libc::SYS_dup3, libc::SYS_pipe2,
    libc::SYS_ppoll, libc::SYS_pselect6, libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait,
    libc::SYS_eventfd2, libc::SYS_timerfd_create, libc::SYS_timerfd_settime,
    libc::SYS_fstat, libc::SYS_newfstatat, libc::SYS_statx, libc::SYS_statfs, libc::SYS_fstatfs, libc::SYS_getdents64,
    libc::SYS_readlinkat, libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_getcwd, libc::SYS_fadvise64,
    libc::SYS_readahead, libc::SYS_getxattr, libc::SYS_lgetxattr, libc::SYS_fgetxattr,
    libc::SYS_listxattr, libc::SYS_llistxattr, libc::SYS_flistxattr,
    // They only take away.
    libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self,
];
/// [`Needs::opens_network`].
#[rustfmt::skip]
const NETWORK: &[c_long] = &[
    libc::SYS_connect, libc::SYS_bind, libc::SYS_getsockname, libc::SYS_getpeername,
    libc::SYS_sendto, libc::SYS_recvfrom, libc::SYS_sendmsg, libc::SYS_recvmsg, libc::SYS_sendmmsg, libc::SYS_recvmmsg,
    libc::SYS_getsockopt, libc::SYS_shutdown,
];
/// [`Needs::writes_program_directory`]: the directory is in Landlock's hands.
#[rustfmt::skip]
const WRITING: &[c_long] = &[
    libc::SYS_openat, libc::SYS_pwrite64, libc::SYS_pwritev, libc::SYS_ftruncate, libc::SYS_fallocate, libc::SYS_fsync,
    libc::SYS_fdatasync, libc::SYS_copy_file_range, libc::SYS_sendfile, libc::SYS_fchmod, libc::SYS_fchmodat,
    libc::SYS_flock, libc::SYS_umask, libc::SYS_unlinkat, libc::SYS_renameat, libc::SYS_renameat2, libc::SYS_linkat,
];
/// [`Needs::removes_programs`].
const REMOVING: &[c_long] = &[libc::SYS_unlinkat];
/// [`Needs::runs_programs`]. Not `setpgid` and `setsid`: the process group is how the agent ends all of them.
#[rustfmt::skip]
const RUNNING: &[c_long] = &[
    libc::SYS_execve, libc::SYS_wait4, libc::SYS_waitid, libc::SYS_chdir, libc::SYS_pidfd_open, libc::SYS_recvfrom,
];
/// [`Needs::watches_files`].
const WATCHING: &[c_long] = &[libc::SYS_inotify_init1, libc::SYS_inotify_add_watch, libc::SYS_inotify_rm_watch];
/// [`Needs::ends_processes`].
#[rustfmt::skip]
const ENDING: &[c_long] = &[
    libc::SYS_kill, libc::SYS_tgkill, libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal,
];
/// The older calls that x86-64 has beside those above.
#[cfg(target_arch = "x86_64")]
mod older {
    use libc::c_long;
    #[rustfmt::skip]
    pub(super) const ALWAYS: &[c_long] = &[
        libc::SYS_arch_prctl, libc::SYS_time, libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_readlink,
        libc::SYS_poll, libc::SYS_select, libc::SYS_epoll_wait, libc::SYS_pipe, libc::SYS_dup2,
    ];
    pub(super) const WRITING: &[c_long] = &[libc::SYS_unlink, libc::SYS_rename, libc::SYS_link, libc::SYS_chmod];
    pub(super) const REMOVING: &[c_long] = &[libc::SYS_unlink];
    pub(super) const RUNNING: &[c_long] = &[libc::SYS_vfork];
}
#[cfg(not(target_arch = "x86_64"))]
mod older {
    pub(super) const ALWAYS: &[libc::c_long] = &[];
    pub(super) const WRITING: &[libc::c_long] = &[];
    pub(super) const REMOVING: &[libc::c_long] = &[];
    pub(super) const RUNNING: &[libc::c_long] = &[];
}

/// The flags of clone(2) that make namespaces.
const NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;
/// The flags of open(2) that change something, or permit to.
const CHANGING: i32 = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;
/// Requests of fcntl(2): not locks, leases and signals of other processes.
const DESCRIPTORS: [i32; 6] =
    [libc::F_DUPFD, libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL];
/// Requests of prctl(2): names of threads, and the layers themselves.
const OWN: [i32; 4] = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_NO_NEW_PRIVS, libc::PR_GET_NO_NEW_PRIVS];
/// Requests of ioctl(2), which change nothing but how a descriptor is read.
const REQUESTS: [u64; 5] = [libc::FIONREAD, libc::FIONBIO, libc::FIOCLEX, libc::TCGETS, libc::TIOCGWINSZ];

/// Options of sockets (level and name) of a module that has sockets for echo requests: what the resolver sets. Another one
/// (`IP_HDRINCL`) makes packets of any kind and sender of them.
const ECHO_OPTIONS: [(i32, i32); 2] = [(libc::IPPROTO_IP, libc::IP_RECVERR), (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)];

/// The bits `mask` of the argument with this index are `value`.
#[derive(Clone, Copy)]
struct Argument {
    index: u8,
    mask: u64,
    value: u64,
}

/// An argument of 32 bits.
fn bits(index: u8, mask: i32, value: i32) -> Argument {
    Argument { index, mask: u64::from(mask.cast_unsigned()), value: u64::from(value.cast_unsigned()) }
}

/// An argument of 32 bits is this number.
fn is(index: u8, value: i32) -> Argument {
    bits(index, -1, value)
}

/// The calls that are permitted: in all cases, or if all conditions of one of their rules are met.
#[derive(Default)]
struct Permitted(BTreeMap<i64, Vec<SeccompRule>>);

impl Permitted {
    fn always(&mut self, calls: &[c_long]) {
        self.0.extend(calls.iter().map(|call| (*call, Vec::new())));
    }

    /// Not for a call that is permitted in all cases.
    fn when(&mut self, call: c_long, arguments: &[Argument]) -> Result<(), Error> {
        let condition = |Argument { index, mask, value }: &Argument| {
            let length = if *mask > u64::from(u32::MAX) { SeccompCmpArgLen::Qword } else { SeccompCmpArgLen::Dword };
            SeccompCondition::new(*index, length, SeccompCmpOp::MaskedEq(*mask), *value)
        };
        let conditions: Result<Vec<_>, _> = arguments.iter().map(condition).collect();
        self.0.entry(call).or_default().push(SeccompRule::new(conditions?)?);
        Ok(())
    }
}

/// What a module with these needs may call.
fn permitted(needs: Needs) -> Result<Permitted, Error> {
    let mut permitted = Permitted::default();
    permitted.always(ALWAYS);
    permitted.always(older::ALWAYS);
    // Memory is writable or executable.
    permitted.when(libc::SYS_mmap, &[bits(2, libc::PROT_EXEC, 0)])?;
    permitted.when(libc::SYS_mmap, &[bits(2, libc::PROT_WRITE, 0)])?;
    permitted.when(libc::SYS_mprotect, &[bits(2, libc::PROT_EXEC, 0)])?;
    // Limits are read, not set.
    permitted.when(libc::SYS_prlimit64, &[Argument { index: 2, mask: u64::MAX, value: 0 }])?;
    for request in DESCRIPTORS {
        permitted.when(libc::SYS_fcntl, &[is(1, request)])?;
    }
    for request in OWN {
        permitted.when(libc::SYS_prctl, &[is(0, request)])?;
    }
    for request in REQUESTS {
        permitted.when(libc::SYS_ioctl, &[Argument { index: 1, mask: u32::MAX.into(), value: request }])?;
    }
    if needs.writes_program_directory {
        permitted.always(WRITING);
        permitted.always(older::WRITING);
    } else {
        permitted.when(libc::SYS_openat, &[bits(2, CHANGING, 0)])?;
    }
    if needs.removes_programs {
        permitted.always(REMOVING);
        permitted.always(older::REMOVING);
    }
    if needs.runs_programs {
        permitted.always(RUNNING);
        permitted.always(older::RUNNING);
        // By which a child says that its program could not be started.
        permitted.when(libc::SYS_socketpair, &[is(0, libc::AF_UNIX)])?;
        permitted.when(libc::SYS_clone, &[bits(0, NAMESPACES, 0)])?;
    } else {
        permitted.when(libc::SYS_clone, &[bits(0, NAMESPACES | libc::CLONE_THREAD, libc::CLONE_THREAD)])?;
    }
    if needs.watches_files {
        permitted.always(WATCHING);
    }
    if needs.reads_files {
        // Who holds a lock is asked; none is taken.
        permitted.when(libc::SYS_fcntl, &[is(1, libc::F_GETLK)])?;
    }
    if needs.ends_processes {
        permitted.always(ENDING);
    } else {
        let own = std::process::id().cast_signed();
        permitted.when(libc::SYS_tgkill, &[is(0, own)])?;
        permitted.when(libc::SYS_kill, &[is(0, own)])?;
    }
    if needs.opens_network {
        permitted.always(NETWORK);
        let kind = 0xf;
        // Not AF_UNIX: services of this machine do for root what they are asked to.
        for family in [libc::AF_INET, libc::AF_INET6] {
            permitted.when(libc::SYS_socket, &[is(0, family), bits(1, kind, libc::SOCK_STREAM)])?;
            permitted.when(libc::SYS_socket, &[is(0, family), bits(1, kind, libc::SOCK_DGRAM)])?;
        }
        // The addresses of this machine, by which those of another are put in order.
        permitted.when(libc::SYS_socket, &[is(0, libc::AF_NETLINK), is(2, libc::NETLINK_ROUTE)])?;
        if needs.sends_echoes {
            for (family, protocol) in [(libc::AF_INET, libc::IPPROTO_ICMP), (libc::AF_INET6, libc::IPPROTO_ICMPV6)] {
                permitted.when(libc::SYS_socket, &[is(0, family), bits(1, kind, libc::SOCK_RAW), is(2, protocol)])?;
            }
            permitted.when(libc::SYS_setsockopt, &[is(1, libc::SOL_SOCKET)])?;
            for (level, name) in ECHO_OPTIONS {
                permitted.when(libc::SYS_setsockopt, &[is(1, level), is(2, name)])?;
            }
        } else {
            permitted.always(&[libc::SYS_setsockopt]);
        }
    }
    if needs.reads_sockets {
        for protocol in [libc::NETLINK_SOCK_DIAG, libc::NETLINK_ROUTE] {
            permitted.when(libc::SYS_socket, &[is(0, libc::AF_NETLINK), is(2, protocol)])?;
        }
        if !needs.opens_network {
            // Without an address it goes to the kernel, not to another process.
            permitted.when(libc::SYS_sendto, &[Argument { index: 4, mask: u64::MAX, value: 0 }])?;
            permitted.always(&[libc::SYS_recvfrom]);
        }
    }
    Ok(permitted)
}

fn program(needs: Needs) -> Result<BpfProgram, Error> {
    let refuse = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let architecture = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(permitted(needs)?.0, refuse, SeccompAction::Allow, architecture)?;
    Ok(filter.try_into()?)
}

/// Restricts the calling thread. False: the kernel has no filters, or something around the agent forbids them.
pub(super) fn restrict(needs: Needs) -> Result<bool, Error> {
    let program = match program(needs) {
        Err(Error::Backend(seccompiler::BackendError::InvalidTargetArch(_))) => return Ok(false),
        program => program?,
    };
    match seccompiler::apply_filter(&program) {
        Err(Error::Seccomp(error))
            if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL | libc::EPERM)) =>
        {
            Ok(false)
        }
        applied => applied.map(|()| true),
    }
}
