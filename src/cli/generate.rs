//! `pldns generate`: files and standard input to the generator, its records to a file or standard output.
//!
//! Results go to standard output, messages to standard error. A file is replaced as a whole, so that a server that
//! watches it never reads a part of one.

use std::fmt;
use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use ipnet::IpNet;

use super::InvalidValue;
use crate::azure::{Cloud, HostName, HostNameError};
use crate::document::{Diagnostic, Severity};
use crate::files;
use crate::generate::{Format, Input, LeftOut, Options, Prefer, Records, generate, print, printable};

/// Turn metadata of private endpoints and workspaces into records.
///
/// Reads, alone or together, what az, ARM, Resource Graph, deployments, Terraform, Pulumi, Ansible and PowerShell print
/// as JSON about private endpoints, their network interfaces and zone groups, private DNS zones, workspaces and compute
/// instances; zone files; lines of address and name; and CSV with a header.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 records were written; 1 the input or the writing failed, and nothing was written; 2 usage error.\n\n\
    Example: az network nic list | pldns generate --output records/subscription.toml"
)]
pub(super) struct GenerateArgs {
    /// Files to read; `-`, or none at all, is standard input.
    #[arg(value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Write here instead of to standard output; replaced as a whole, or not at all.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The format of the records.
    #[arg(long, value_enum, default_value_t = Format::Toml)]
    format: Format,
    /// The cloud that every name must belong to; found by the names themselves when left out.
    #[arg(long, value_enum)]
    cloud: Option<Cloud>,
    /// A network whose clients alone see the records, once for each: 10.1.0.0/16.
    #[arg(long, value_name = "CIDR", value_parser = network)]
    clients: Vec<IpNet>,
    /// A compute instance that gets records, once for each: NAME, or WORKSPACE/NAME when the input has several
    /// workspaces.
    #[arg(long = "compute-instance", value_name = "NAME", value_parser = compute_instance)]
    compute_instances: Vec<String>,
    /// Allow names under this suffix although no service of Azure has them, once for each.
    #[arg(long, value_name = "SUFFIX", value_parser = suffix)]
    allow: Vec<String>,
    /// Warn of what cannot be used instead of failing, and write the rest.
    #[arg(long)]
    lenient: bool,
    /// What to do when two sources have different data for one name.
    #[arg(long, value_enum, default_value_t = Prefer::Fail)]
    prefer: Prefer,
    /// Leave out `*.REGION.inference.ml.azure.com`, which holds the online endpoints of other workspaces too.
    #[arg(long)]
    no_regional_wildcard: bool,
}

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let help = match self {
            Self::Toml => "the records file that `pldns serve` loads",
            Self::Hosts => "a hosts file",
            Self::Zone => "master files (RFC 1035), one zone after the other",
            Self::Unbound => "local data of Unbound",
            Self::Bind => "a response policy zone of BIND",
            Self::Dnsmasq => "settings of dnsmasq",
            Self::Coredns => "a snippet of a Corefile",
            Self::Powershell => "commands for DNS on Windows Server",
            Self::AzureCli => "commands for private DNS zones, in $RESOURCE_GROUP",
            Self::Terraform => "resources for private DNS zones",
        };
        Some(clap::builder::PossibleValue::new(self.word()).help(help))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl ValueEnum for Cloud {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let help = match self {
            Self::Public => "the public cloud",
            Self::China => "Azure operated by 21Vianet in China",
            Self::UsGov => "Azure US Government",
        };
        Some(clap::builder::PossibleValue::new(self.word()).help(help))
    }
}

impl ValueEnum for Prefer {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Newest, Self::First, Self::All, Self::Fail]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let help = match self {
            Self::Fail => "report both sources and write nothing",
            Self::Newest => "the newer one, by what the objects say or by the time of their files",
            Self::First => "the one that comes first in the order of the inputs",
            Self::All => "the data of all",
        };
        Some(clap::builder::PossibleValue::new(self.word()).help(help))
    }
}

/// Runs the command: 0 when records came out, 1 when the input or the writing failed.
pub(super) fn run(args: &GenerateArgs) -> ExitCode {
    let inputs = match read_inputs(&args.inputs) {
        Ok(inputs) => inputs,
        Err(failed) => {
            failed.iter().for_each(complain);
            return ExitCode::FAILURE;
        }
    };
    let (records, messages) = generate(&inputs, &args.options());
    messages.shown().iter().for_each(complain);
    let Some(records) = records else {
        return ExitCode::FAILURE;
    };
    write_records(&records, args.format, args.output.as_deref())
}

/// Writes records in a format to a file or standard output: 0 when they are written, 1 otherwise.
pub(super) fn write_records(records: &Records, format: Format, output: Option<&Path>) -> ExitCode {
    let printed = print(records, format);
    complain_of_left_out(&printed.left_out, format);
    if printed.records == 0 {
        let text = format!("no record can be written in the format {}", format);
        let hint = "the format toml can express them all";
        complain(&Diagnostic::of_file(Severity::Error, "generate", text, hint));
        return ExitCode::FAILURE;
    }
    match write_output(output, &printed.text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            complain(&problem);
            ExitCode::FAILURE
        }
    }
}

/// Reports what a format cannot express: the first few of each reason by name.
fn complain_of_left_out(left_out: &[LeftOut], format: Format) {
    let mut reasons: Vec<&str> = left_out.iter().map(|it| it.reason).collect();
    reasons.sort_unstable();
    reasons.dedup();
    for reason in reasons {
        let of_reason: Vec<&str> =
            left_out.iter().filter(|it| it.reason == reason).map(|it| it.record.as_str()).collect();
        let shown = of_reason.iter().take(LEFT_OUT_SHOWN).copied().collect::<Vec<_>>().join(", ");
        let more = match of_reason.len().saturating_sub(LEFT_OUT_SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let text = format!("the format {format} cannot express {shown}{more}: {reason}");
        complain(&Diagnostic::of_file(
            Severity::Warning,
            "generate",
            text,
            "left out; pldns itself serves them (format toml)",
        ));
    }
}

impl GenerateArgs {
    fn options(&self) -> Options {
        Options {
            cloud: self.cloud,
            compute_instances: self.compute_instances.clone(),
            allow: self.allow.clone(),
            lenient: self.lenient,
            prefer: self.prefer,
            no_regional_wildcard: self.no_regional_wildcard,
            clients: self.clients.clone(),
        }
    }
}

/// All inputs, or a message for each that cannot be read.
fn read_inputs(paths: &[PathBuf]) -> Result<Vec<Input>, Vec<Diagnostic>> {
    let stdin = [PathBuf::from("-")];
    let paths = if paths.is_empty() { &stdin[..] } else { paths };
    let mut inputs = Vec::new();
    let mut failed = Vec::new();
    for path in paths {
        match read_input(path) {
            Ok(input) => inputs.push(input),
            Err(error) => {
                let hint = if error.kind() == io::ErrorKind::IsADirectory {
                    "give the files in it"
                } else {
                    "does it exist, and may this user read it?"
                };
                failed.push(Diagnostic::of_file(
                    Severity::Error,
                    printable(&path.to_string_lossy()),
                    format!("cannot read this file: {error}"),
                    hint,
                ));
            }
        }
    }
    if failed.is_empty() { Ok(inputs) } else { Err(failed) }
}

fn read_input(path: &Path) -> io::Result<Input> {
    if path == Path::new("-") {
        if io::stdin().is_terminal() {
            let _ = writeln!(io::stderr().lock(), "reading standard input; end it with Ctrl-D");
        }
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes)?;
        return Ok(Input { name: "standard input".to_owned(), bytes, written: None });
    }
    // The name alone, so that the same file gives the same bytes from wherever it is named.
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let written = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    #[expect(clippy::disallowed_methods, reason = "this is the command that reads them")]
    let bytes = fs::read(path)?;
    Ok(Input { name, bytes, written })
}

/// Writes to a file as a whole, or to standard output.
pub(super) fn write_output(path: Option<&Path>, text: &str) -> Result<(), Diagnostic> {
    let problem = |place: String, error: io::Error| {
        Diagnostic::of_file(Severity::Error, place, format!("cannot write: {error}"), "")
    };
    let Some(path) = path.filter(|path| *path != Path::new("-")) else {
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        return match written {
            // A reader that closes the pipe early has seen enough.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(problem("standard output".to_owned(), error))
            }
            _ => Ok(()),
        };
    };
    files::replace(path, text.as_bytes(), None).map_err(|error| problem(printable(&path.to_string_lossy()), error))
}

fn compute_instance(text: &str) -> Result<String, InvalidValue> {
    let (workspace, name) = text.rsplit_once('/').unwrap_or(("x", text));
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    // 63 bytes of a label, less the `-22` of the second name.
    if name.is_empty() || workspace.is_empty() || !plain || name.len() > 60 {
        return Err(InvalidValue("a compute instance's name has letters, digits and hyphens, 60 at most".to_owned()));
    }
    Ok(text.to_owned())
}

fn suffix(text: &str) -> Result<String, HostNameError> {
    HostName::parse(text.trim_start_matches("*.").trim_start_matches('.')).map(|suffix| suffix.to_string())
}

/// A network prefix or a single address.
pub(super) fn network(text: &str) -> Result<IpNet, InvalidValue> {
    let network =
        text.parse::<IpNet>().ok().or_else(|| text.parse().map(|address: std::net::IpAddr| address.into()).ok());
    match network {
        Some(network) if network.trunc() == network => Ok(network),
        Some(network) => {
            Err(InvalidValue(format!("it has bits set beyond its prefix: did you mean {}?", network.trunc())))
        }
        None => Err(InvalidValue("not a network prefix such as 10.1.0.0/16".to_owned())),
    }
}

/// To standard error; when even that is closed, no one can read it.
pub(super) fn complain(problem: &Diagnostic) {
    let _ = writeln!(io::stderr().lock(), "{problem}");
}

/// Records that a warning names, of each reason.
const LEFT_OUT_SHOWN: usize = 10;
