//! Server-sent events (HTML Standard, section 9.2.6), out of bytes as they arrive.

/// Longest event. What is longer is not ours.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// An event.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// What goes into `Last-Event-ID`, if it says so.
    pub id: Option<String>,
    /// Its name; `message` when it has none.
    pub name: String,
    /// Its lines of data.
    pub data: String,
}

/// Events of one connection.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// A line whose end has not come yet.
    line: Vec<u8>,
    event: Event,
    has_data: bool,
    /// The last byte was a carriage return: a line feed belongs to it.
    after_return: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("the API sent an event without an end")]
pub(super) struct TooLong;

impl Events {
    /// The events that these bytes complete.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut complete = Vec::new();
        for byte in bytes {
            let is_second = *byte == b'\n' && self.after_return;
            self.after_return = *byte == b'\r';
            match byte {
                b'\n' if is_second => {}
                b'\n' | b'\r' => complete.extend(self.end_line()),
                byte => self.line.push(*byte),
            }
            if self.line.len() + self.event.data.len() > EVENT_BYTES_MAX {
                return Err(TooLong);
            }
        }
        Ok(complete)
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        if line.is_empty() {
            let mut event = std::mem::take(&mut self.event);
            let has_data = std::mem::take(&mut self.has_data);
            if event.name.is_empty() {
                event.name = "message".to_owned();
            }
            return Some(event).filter(|_| has_data);
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event.name = value.to_owned(),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.has_data = true;
                self.event.data.push_str(value);
            }
            "id" if !value.contains('\0') => self.event.id = Some(value.to_owned()),
            // comments, which keep a connection alive, and what is not known
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\n\nid: 7\nevent: click\ndata: {\"a\":\ndata: 1}\n\nevent: gap\r\ndata\r\n\r\ndata:x\n\nevent: nothing\n\n";

    #[test]
    fn events_are_the_same_however_their_bytes_arrive() {
        let event = |id: Option<&str>, name: &str, data: &str| Event {
            id: id.map(str::to_owned),
            name: name.to_owned(),
            data: data.to_owned(),
        };
        let expected =
            [event(Some("7"), "click", "{\"a\":\n1}"), event(None, "gap", ""), event(None, "message", "x")];

        for size in [1, 3, STREAM.len()] {
            let mut events = Events::default();
            let pieces = STREAM.as_bytes().chunks(size);
            let read: Vec<Event> = pieces.flat_map(|piece| events.read(piece).expect("short")).collect();
            assert_eq!(read, expected, "{size}");
        }
    }

    #[test]
    fn an_event_without_an_end_is_not_kept() {
        let mut events = Events::default();

        assert!(events.read(b"data: ").is_ok());
        assert!(events.read(&vec![b'x'; EVENT_BYTES_MAX]).is_err());
    }
}
