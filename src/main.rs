//! `pldns`: the command line to the library, the library's result to an exit code.

fn main() -> std::process::ExitCode {
    privatelink_dns::cli::main()
}
