//! Whether this system lets us use io_uring as the driver needs it, and what to do if not.
//!
//! The probe makes a small ring with the driver's own flags and asks which operations there are: what passes here works there. The
//! sentences are for the log line that says why the epoll driver was chosen.

use super::submit::SystemRing;
use io_uring::{Probe, opcode};
use std::fmt;
use std::io;

/// io_uring is not to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What the system said.
    pub why: String,
    /// What would change that.
    pub remedy: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "io_uring cannot be used: {}. {}", self.why, self.remedy)
    }
}

impl std::error::Error for Refused {}

/// Tries it. Costs a few system calls.
///
/// # Errors
/// The reason and its remedy.
pub fn probe() -> Result<(), Refused> {
    let ring = SystemRing::new(4, 8).map_err(|error| refused(&error))?;
    let submitter = ring.crate_ring().submitter();
    let mut probe = Probe::new();
    submitter.register_probe(&mut probe).map_err(|error| refused(&error))?;
    let needed = [
        ("accept", opcode::AcceptMulti::CODE),
        ("recv", opcode::RecvMulti::CODE),
        ("send", opcode::Send::CODE),
        ("close", opcode::Close::CODE),
        ("shutdown", opcode::Shutdown::CODE),
        ("msg_ring", opcode::MsgRingSendFd::CODE),
    ];
    for (name, code) in needed {
        if !probe.is_supported(code) {
            return Err(too_old(&format!("the operation {name} is missing")));
        }
    }
    submitter.register_files_sparse(4).map_err(|error| refused(&error))?;
    Ok(())
}

fn too_old(why: &str) -> Refused {
    Refused {
        why: why.to_owned(),
        remedy: "It needs Linux 6.1 or newer; until then the epoll driver does the same work.".to_owned(),
    }
}

/// What an error of setting up a ring means.
pub(super) fn refused(error: &io::Error) -> Refused {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    refused_with(error, disabled.trim())
}

fn refused_with(error: &io::Error, disabled: &str) -> Refused {
    let remedy = match (error.raw_os_error(), disabled) {
        (Some(libc::EPERM), "1") => {
            "The sysctl kernel.io_uring_disabled is 1: set it to 0, or add the process to the group kernel.io_uring_group."
        }
        (Some(libc::EPERM), "2") => "The sysctl kernel.io_uring_disabled is 2: set it to 0.",
        (Some(libc::EPERM | libc::EACCES), _) => {
            "A seccomp profile or security module blocks it (Docker's default profile does): run the container with a profile \
             that allows io_uring_setup, io_uring_enter and io_uring_register."
        }
        (Some(libc::ENOSYS), _) => {
            "The kernel was built without it, or a sandbox hides it: use a kernel with CONFIG_IO_URING outside the sandbox."
        }
        (Some(libc::EINVAL), _) => return too_old("the kernel does not know its flags"),
        (Some(libc::ENOMEM), _) => {
            "Its memory may not be locked: raise the limit of locked memory (ulimit -l, LimitMEMLOCK=)."
        }
        (Some(libc::EMFILE | libc::ENFILE), _) => {
            "No descriptors are left: raise the limit of open files (ulimit -n, LimitNOFILE=)."
        }
        _ => "The epoll driver does the same work.",
    };
    Refused { why: error.to_string(), remedy: remedy.to_owned() }
}

#[cfg(all(test, not(ringio_loom)))]
mod tests {
    use super::*;

    fn remedy(errno: i32, disabled: &str) -> String {
        refused_with(&io::Error::from_raw_os_error(errno), disabled).remedy
    }

    #[test]
    fn every_refusal_names_its_remedy() {
        assert!(remedy(libc::EPERM, "2").contains("kernel.io_uring_disabled is 2"));
        assert!(remedy(libc::EPERM, "1").contains("io_uring_group"));
        assert!(remedy(libc::EPERM, "0").contains("seccomp"));
        assert!(remedy(libc::ENOSYS, "").contains("CONFIG_IO_URING"));
        assert!(remedy(libc::EINVAL, "0").contains("Linux 6.1"));
        assert!(remedy(libc::ENOMEM, "0").contains("ulimit -l"));
    }
}
