//! The program `drift`.

use std::process::ExitCode;

/// Frames of a body are allocated on one thread and freed on another, which costs glibc's
/// allocator 65,000 page faults a GiB and this one under ten.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The allocator asks for pages of 2 MiB. Of the few KiB that each of many threads uses, such a page
/// makes 2 MiB resident: 400 slow uploads took 125 MiB with them, and 27 without.
#[cfg(target_os = "linux")]
fn keep_pages_small() {
    // A system that refuses costs memory, and nothing else.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

#[cfg(not(target_os = "linux"))]
fn keep_pages_small() {}

fn main() -> ExitCode {
    keep_pages_small();
    drift::cli::Cli::main()
}
