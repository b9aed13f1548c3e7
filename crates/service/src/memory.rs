//! The allocator of every process, and in which pages the system gives it memory.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Lets the system give this process small pages alone.
///
/// The allocator asks for huge ones. Whoever looks up one of many things at random is faster with them, as the redirect is
/// by a fifth with 100,000 links; who works off what comes is not, and has a third more memory resident. Where the system
/// does not know of them nothing changes.
pub fn in_small_pages() {
    // refused by kernels that have none
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
