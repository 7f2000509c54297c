//! The program `drift`.

use std::process::ExitCode;

/// Frames of a body are allocated on one thread and freed on another, which costs glibc's
/// allocator 65,000 page faults a GiB and this one under ten.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    drift::cli::Cli::main()
}
