//! `pldns`: the command line to the library, the library's result to an exit code.

/// For the static binary, whose libc has an allocator that is slow where threads allocate at the same time.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    privatelink_dns::cli::main()
}
