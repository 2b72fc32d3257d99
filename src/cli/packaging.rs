//! `pldns completions`, `pldns man` and `pldns schema`: what packages and editors need, from the one definition of the
//! command line and the one list of settings.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command, CommandFactory, ValueEnum};
use clap_complete::Shell;

/// The settings file with every key and its default: the text of pldns.toml(5).
const SETTINGS: &str = include_str!("../../config/pldns.toml");

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Print the manual page, or write all manual pages into a directory
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Directory for pldns.1, a page for each command and pldns.toml.5; created if it is missing.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Print a JSON Schema for editors
#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    /// What the file holds.
    #[arg(value_enum, value_name = "KIND")]
    kind: SchemaKind,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SchemaKind {
    /// The settings file.
    Settings,
    /// A records file.
    Records,
}

pub(super) fn completions(args: &CompletionsArgs) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "pldns", &mut script);
    print(&script)
}

pub(super) fn schema(args: &SchemaArgs) -> ExitCode {
    print(match args.kind {
        SchemaKind::Settings => include_bytes!("schema/settings.json"),
        SchemaKind::Records => include_bytes!("schema/records.json"),
    })
}

pub(super) fn man(args: &ManArgs) -> ExitCode {
    let mut root = super::Cli::command().disable_help_subcommand(true);
    root.build();
    let Some(directory) = &args.directory else {
        return print(&command_page(&root));
    };
    match write_pages(directory, &root) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write manual pages to {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

fn write_pages(directory: &Path, root: &Command) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::write(directory.join("pldns.1"), command_page(root))?;
    for command in root.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = format!("pldns-{}", command.get_name());
        let page = command_page(&command.clone().name(name.clone()));
        fs::write(directory.join(format!("{name}.1")), page)?;
    }
    fs::write(directory.join("pldns.toml.5"), settings_page())
}

/// The page of a command, section 1.
fn command_page(command: &Command) -> Vec<u8> {
    let mut page = Vec::new();
    // Writing to memory does not fail.
    let _ = clap_mangen::Man::new(command.clone()).manual("pldns").source(super::VERSION).render(&mut page);
    page
}

/// pldns.toml(5): the commented settings file as it is.
fn settings_page() -> String {
    let mut page = format!(
        ".TH pldns.toml 5 \"\" \"{}\" \"pldns\"\n.SH NAME\npldns.toml \\- settings of pldns(1)\n.SH DESCRIPTION\nThe file \
         below holds every setting with its default. Each key is optional.\n.PP\n.nf\n",
        super::VERSION
    );
    for line in SETTINGS.lines() {
        // A backslash begins an escape, and a dot or a quote at the start of a line a request (groff(7)).
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        page.push_str(guard);
        page.push_str(&line);
        page.push('\n');
    }
    page.push_str(".fi\n.SH SEE ALSO\n.BR pldns (1)\n");
    page
}

/// Prints a result. A reader that closes the pipe early has seen enough.
fn print(bytes: &[u8]) -> ExitCode {
    match io::stdout().lock().write_all(bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("cannot write to standard output: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_visible_command_has_a_page_that_begins_with_its_title() {
        let mut root = super::super::Cli::command().disable_help_subcommand(true);
        root.build();
        for command in root.get_subcommands() {
            let page = String::from_utf8(command_page(command)).unwrap();
            assert!(page.contains(".TH"), "{}", command.get_name());
            assert!(page.contains(command.get_name()), "{}", command.get_name());
        }
    }

    #[test]
    fn no_line_of_the_settings_page_is_read_as_a_request() {
        let page = settings_page();
        let body = page.split(".nf\n").nth(1).unwrap().split("\n.fi").next().unwrap();
        assert!(body.lines().count() > 100);
        assert!(body.lines().all(|line| !line.starts_with('.')), "a line begins with a dot");
    }
}
