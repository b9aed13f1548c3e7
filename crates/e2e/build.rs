//! Compiles the messages of `proto/` as another service would, for the subscriber that `proto/README.md` shows.

const PROTO_DIR: &str = "../../proto";

fn main() {
    println!("cargo:rerun-if-changed={PROTO_DIR}");
    let descriptors =
        protox::compile(["clickwire/events/v1/click.proto"], [PROTO_DIR]).expect("proto/ compiles");
    prost_build::Config::new().compile_fds(descriptors).expect("OUT_DIR can be written to");
}
