//! Frame Streams: frames with their length before them, and control frames where it is 0.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::TapTarget;

const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";
/// Control frames.
const ACCEPT: u32 = 1;
const START: u32 = 2;
const STOP: u32 = 3;
const READY: u32 = 4;
/// The field of a control frame that has the content type.
const FIELD_CONTENT_TYPE: u32 = 1;
/// Bytes of a control frame that is read.
const CONTROL_MAX: u32 = 512;
/// How long the collector may take for an answer, or for what is written.
const TIME: Duration = Duration::from_secs(5);
/// How long its word is waited for that all was received.
const LAST: Duration = Duration::from_millis(300);

/// A stream that has begun.
pub(super) enum Stream {
    Socket(UnixStream),
    File(File),
}

impl Stream {
    pub(super) fn open(target: &TapTarget) -> io::Result<Self> {
        let mut stream = match target {
            TapTarget::Socket(path) => {
                let mut socket = UnixStream::connect(path)?;
                socket.set_read_timeout(Some(TIME))?;
                socket.set_write_timeout(Some(TIME))?;
                socket.write_all(&control(READY, true))?;
                if read_control(&mut socket)? != ACCEPT {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "the collector does not accept dnstap"));
                }
                Self::Socket(socket)
            }
            TapTarget::File(path) => Self::File(File::create(path)?),
        };
        stream.write(&control(START, true))?;
        Ok(stream)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Socket(socket) => socket.write_all(bytes),
            Self::File(file) => file.write_all(bytes),
        }
    }

    /// Ends it in good order: the collector says that it has all.
    pub(super) fn close(&mut self) -> io::Result<()> {
        self.write(&control(STOP, false))?;
        if let Self::Socket(socket) = self {
            socket.set_read_timeout(Some(LAST))?;
            read_control(socket)?;
        }
        Ok(())
    }
}

/// Adds a frame.
pub(super) fn push_frame(batch: &mut Vec<u8>, frame: &[u8]) {
    // Two messages of 64 KiB at most.
    if let Ok(len) = u32::try_from(frame.len()) {
        batch.extend_from_slice(&len.to_be_bytes());
        batch.extend_from_slice(frame);
    }
}

/// A control frame.
fn control(kind: u32, has_content_type: bool) -> Vec<u8> {
    let mut body = kind.to_be_bytes().to_vec();
    if has_content_type {
        body.extend_from_slice(&FIELD_CONTENT_TYPE.to_be_bytes());
        push_frame(&mut body, CONTENT_TYPE);
    }
    let mut frame = 0u32.to_be_bytes().to_vec();
    push_frame(&mut frame, &body);
    frame
}

/// Reads a control frame; its kind.
fn read_control(socket: &mut UnixStream) -> io::Result<u32> {
    let mut number = || -> io::Result<u32> {
        let mut bytes = [0; 4];
        socket.read_exact(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    };
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "the collector's answer is not of Frame Streams");
    let (escape, len, kind) = (number()?, number()?, number()?);
    if escape != 0 || !(4..=CONTROL_MAX).contains(&len) {
        return Err(malformed());
    }
    io::copy(&mut socket.take(u64::from(len) - 4), &mut io::sink())?;
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_frames_have_their_escape_and_length() {
        assert_eq!(control(STOP, false), [0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 3]);
        let start = control(START, true);
        assert_eq!(&start[..20], &[0, 0, 0, 0, 0, 0, 0, 34, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 22]);
        assert_eq!(&start[20..], CONTENT_TYPE);
    }
}
