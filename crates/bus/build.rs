//! Compiles `proto/` to Rust, without a `protoc` on the machine.

const PROTO_DIR: &str = "../../proto";
const FILES: [&str; 4] = [
    "clickwire/events/v1/click.proto",
    "clickwire/events/v1/event.proto",
    "clickwire/events/v1/orphan.proto",
    "clickwire/events/v1/quarantined.proto",
];

fn main() {
    println!("cargo:rerun-if-changed={PROTO_DIR}");
    let descriptors = protox::compile(FILES, [PROTO_DIR]).expect("proto/ compiles");
    prost_build::Config::new()
        // maps in one order, so that equal values are equal bytes
        .btree_map(["."])
        .compile_fds(descriptors)
        .expect("OUT_DIR can be written to");
}
