//! `pldns generate`: files and standard input to the generator, its records to a file or standard output.
//!
//! Results go to standard output, messages to standard error. A file is written beside its place and moved there, so
//! that a server that watches it never reads half of one.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::azure::{Cloud, HostName};
use crate::generate::{Format, Input, Options, generate, print, printable};

/// Turn metadata of private endpoints and workspaces into a records file.
///
/// Reads what `az network nic show` (whole, or with the documentation's query of FQDNs and IPAddress),
/// `az network private-endpoint show`, `az ml workspace show` and their kin print, ARM's own answers, and zone files of
/// private DNS zones, alone or together.
#[derive(Debug, Args)]
pub(super) struct GenerateArgs {
    /// Files to read; `-`, or none at all, is standard input.
    #[arg(value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Write here instead of to standard output; replaced as a whole, or not at all.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The format of the records.
    #[arg(long, value_enum, default_value_t = FormatWord::Toml)]
    format: FormatWord,
    /// The cloud that every name must belong to; found by the names themselves when left out.
    #[arg(long, value_enum)]
    cloud: Option<CloudWord>,
    /// A compute instance that gets records, once for each: NAME, or WORKSPACE/NAME when the input has several
    /// workspaces.
    #[arg(long = "compute-instance", value_name = "NAME", value_parser = compute_instance)]
    compute_instances: Vec<String>,
    /// Let names under this suffix in although no service of Azure has them, once for each.
    #[arg(long, value_name = "SUFFIX", value_parser = suffix)]
    allow: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormatWord {
    /// The records file that `pldns serve` loads.
    Toml,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "lower")]
enum CloudWord {
    /// The public cloud.
    Public,
    /// Azure operated by 21Vianet in China.
    China,
    /// Azure US Government.
    UsGov,
}

/// Runs the command: 0 when records came out, 1 when the input or the writing failed.
pub(super) fn run(args: &GenerateArgs) -> ExitCode {
    let inputs = match read_inputs(&args.inputs) {
        Ok(inputs) => inputs,
        Err(text) => return fail(&text),
    };
    let (records, messages) = generate(&inputs, &args.options());
    for message in messages.iter() {
        complain(&message.to_string());
    }
    let Some(records) = records else {
        return ExitCode::FAILURE;
    };
    let FormatWord::Toml = args.format;
    let text = print(&records, Format::Toml);
    match write_output(args.output.as_deref(), &text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => fail(&text),
    }
}

impl GenerateArgs {
    fn options(&self) -> Options {
        let cloud = self.cloud.map(|word| match word {
            CloudWord::Public => Cloud::Public,
            CloudWord::China => Cloud::China,
            CloudWord::UsGov => Cloud::UsGov,
        });
        Options { cloud, compute_instances: self.compute_instances.clone(), allow: self.allow.clone() }
    }
}

/// All inputs, or a message for each that cannot be read.
fn read_inputs(paths: &[PathBuf]) -> Result<Vec<Input>, String> {
    let stdin = [PathBuf::from("-")];
    let paths = if paths.is_empty() { &stdin[..] } else { paths };
    let mut inputs = Vec::new();
    let mut failed = Vec::new();
    for path in paths {
        match read_input(path) {
            Ok(input) => inputs.push(input),
            Err(error) => failed.push(format!("error: {} cannot be read: {error}", printable(&path.to_string_lossy()))),
        }
    }
    if failed.is_empty() { Ok(inputs) } else { Err(failed.join("\n")) }
}

fn read_input(path: &Path) -> io::Result<Input> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes)?;
        return Ok(Input { name: "standard input".to_owned(), bytes });
    }
    // The name alone, so that the same file gives the same bytes from wherever it is named.
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    #[expect(clippy::disallowed_methods, reason = "this is the command that reads them")]
    let bytes = fs::read(path)?;
    Ok(Input { name, bytes })
}

fn write_output(path: Option<&Path>, text: &str) -> Result<(), String> {
    let Some(path) = path.filter(|path| *path != Path::new("-")) else {
        let mut out = io::stdout().lock();
        return out
            .write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| format!("error: standard output cannot be written: {error}"));
    };
    replace(path, text)
        .map_err(|error| format!("error: {} cannot be written: {error}", printable(&path.to_string_lossy())))
}

/// Writes a file as a whole: beside its place first, on the disk, then moved. A link stays one, and so does a device.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let old = fs::metadata(&target).ok();
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        return fs::OpenOptions::new().write(true).open(&target)?.write_all(text.as_bytes());
    }
    let name = target.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "this is no file name"))?;
    let beside = target.with_file_name(format!(".{}.{}.new", name.to_string_lossy(), std::process::id()));
    let written =
        write_new(&beside, text, old.map(|old| old.permissions())).and_then(|()| fs::rename(&beside, &target));
    if written.is_err() {
        // What is wrong is told already; a leftover would only add to it.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn write_new(path: &Path, text: &str, permissions: Option<fs::Permissions>) -> io::Result<()> {
    let mut file = fs::File::create_new(path)?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions)?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn compute_instance(text: &str) -> Result<String, String> {
    let (workspace, name) = text.rsplit_once('/').unwrap_or(("x", text));
    let plain = name.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
    // 63 octets of a label, less the `-22` of the second name.
    if name.is_empty() || workspace.is_empty() || !plain || name.len() > 60 {
        return Err("a compute instance's name has letters, digits and hyphens, 60 at most".to_owned());
    }
    Ok(text.to_owned())
}

fn suffix(text: &str) -> Result<String, String> {
    let suffix =
        HostName::parse(text.trim_start_matches("*.").trim_start_matches('.')).map_err(|error| error.to_string())?;
    Ok(suffix.to_string())
}

fn fail(text: &str) -> ExitCode {
    complain(text);
    ExitCode::FAILURE
}

/// To standard error; when even that is closed there is nobody left to tell.
fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
