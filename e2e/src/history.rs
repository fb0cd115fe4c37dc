//! A history that scripts wrote, held against what a durable, ordered log may show.
//!
//! Real clients in any language log one JSON object per line in the order of real time; this module
//! replays the lines into the checker that the simulation uses, so that there is one judge. It knows
//! no server and no client. Start with [`Replay::line`]; [`Line`] says what can be logged.

use std::collections::BTreeMap;

use millstream_storage::history::{AppendId, Checker, GARBLED, Moment, Report, Seen};
use millstream_types::{SequenceNumber, ShardUid};
use serde::{Deserialize, Serialize};

/// One event. Ids are used once; a reader is a number that the script chose.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Line {
    /// A client is about to send a record to a shard.
    Begin {
        /// The record's id.
        id: u64,
        /// Index of the shard.
        shard: u32,
    },
    /// The record was acknowledged with this sequence number.
    Acked {
        /// The record's id.
        id: u64,
        /// What the service answered.
        number: String,
    },
    /// A new reader begins at the oldest record of a shard.
    Reader {
        /// The reader.
        reader: u32,
        /// Index of the shard.
        shard: u32,
    },
    /// The reader is about to ask for what follows the last record that it saw.
    Reading {
        /// The reader.
        reader: u32,
    },
    /// What it was shown.
    Saw {
        /// The reader.
        reader: u32,
        /// Sequence number and id of each record; no id for a payload that is damaged.
        records: Vec<(String, Option<u64>)>,
        /// Whether that was all there is: no records, and nothing behind.
        end: bool,
    },
}

/// Why a line cannot be replayed: the script is wrong, or the server answered nonsense.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Not one of the events.
    #[error("line {line} is no event of a history")]
    Unreadable {
        /// Counted from 1.
        line: u64,
        #[source]
        /// What the reader of JSON says.
        source: serde_json::Error,
    },
    /// Not a sequence number of ours.
    #[error("line {line}: sequence number {number} is not one")]
    Number {
        /// Counted from 1.
        line: u64,
        /// What was logged.
        number: String,
    },
    /// A record that went to another shard than its hash key says.
    #[error("line {line}: a record for shard {wanted} has a number of shard {got}")]
    Shard {
        /// Counted from 1.
        line: u64,
        /// The shard that the client chose by the hash key.
        wanted: u32,
        /// The shard in the number.
        got: u32,
    },
    /// An event about something that no line introduced.
    #[error("line {line}: {what} was never logged before")]
    Unknown {
        /// Counted from 1.
        line: u64,
        /// What it is about.
        what: String,
    },
}

/// One reader and how far it is.
struct Reader {
    shard: u32,
    /// The next number to be shown.
    next: u64,
    began: Moment,
}

/// Replays a history.
#[derive(Default)]
pub struct Replay {
    checker: Checker,
    appends: BTreeMap<u64, (AppendId, u32)>,
    readers: BTreeMap<u32, Reader>,
    line: u64,
}

/// The verdict as one line of JSON.
#[derive(Serialize)]
pub struct Verdict {
    /// Records that were acknowledged.
    pub acked: u64,
    /// Records that were acknowledged or seen and are gone.
    pub lost: u64,
    /// Records with two numbers.
    pub doubled: u64,
    /// Records out of order.
    pub reordered: u64,
    /// Records that nobody sent.
    pub phantom: u64,
    /// The first faults in words.
    pub faults: Vec<String>,
}

impl Replay {
    /// Takes the next line.
    ///
    /// # Errors
    /// When it is no event, or one that cannot be.
    pub fn line(&mut self, text: &str) -> Result<(), LineError> {
        self.line += 1;
        let event = serde_json::from_str(text).map_err(|source| LineError::Unreadable {
            line: self.line,
            source,
        })?;
        match event {
            Line::Begin { id, shard } => {
                let append = self.checker.invoke(uid(shard), &[id]);
                self.appends.insert(id, (append, shard));
            },
            Line::Acked { id, number } => self.acked(id, &number)?,
            Line::Reader { reader, shard } => {
                let began = self.checker.moment();
                let new = Reader {
                    shard,
                    next: 1,
                    began,
                };
                self.readers.insert(reader, new);
            },
            Line::Reading { reader } => {
                let now = self.checker.moment();
                self.reader(reader)?.began = now;
            },
            Line::Saw {
                reader,
                records,
                end,
            } => self.saw(reader, &records, end)?,
        }
        Ok(())
    }

    fn unknown(&self, what: String) -> LineError {
        LineError::Unknown {
            line: self.line,
            what,
        }
    }

    fn reader(&mut self, reader: u32) -> Result<&mut Reader, LineError> {
        let unknown = self.unknown(format!("reader {reader}"));
        self.readers.get_mut(&reader).ok_or(unknown)
    }

    fn number(&self, shard: u32, text: &str) -> Result<u64, LineError> {
        let number: SequenceNumber = text.parse().map_err(|_| LineError::Number {
            line: self.line,
            number: text.to_owned(),
        })?;
        if number.shard_index != shard {
            return Err(LineError::Shard {
                line: self.line,
                wanted: shard,
                got: number.shard_index,
            });
        }
        Ok(number.counter)
    }

    fn acked(&mut self, id: u64, number: &str) -> Result<(), LineError> {
        let known = self.appends.get(&id).copied();
        let (append, shard) = known.ok_or_else(|| self.unknown(format!("record {id}")))?;
        let number = self.number(shard, number)?;
        self.checker.ok(append, number);
        Ok(())
    }

    fn saw(
        &mut self,
        reader: u32,
        records: &[(String, Option<u64>)],
        end: bool,
    ) -> Result<(), LineError> {
        let &mut Reader { shard, next, began } = self.reader(reader)?;
        let mut shown = Vec::with_capacity(records.len());
        for (number, id) in records {
            shown.push((self.number(shard, number)?, id.unwrap_or(GARBLED)));
        }
        if let Some((last, _)) = shown.last() {
            self.reader(reader)?.next = last + 1;
        }
        self.checker.saw(&Seen {
            shard: uid(shard),
            began,
            from: next,
            records: shown,
            tip: end.then_some(next),
        });
        Ok(())
    }

    /// The verdict over all lines.
    #[must_use]
    pub fn finish(self) -> Verdict {
        let Report {
            acked,
            lost,
            doubled,
            reordered,
            phantom,
            faults,
        } = self.checker.finish();
        Verdict {
            acked,
            lost,
            doubled,
            reordered,
            phantom,
            faults: faults.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Verdict {
    /// Whether nothing went wrong and something was written.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.lost + self.doubled + self.reordered + self.phantom == 0 && self.acked > 0
    }
}

/// The name of a shard in the history.
fn uid(shard: u32) -> ShardUid {
    ShardUid(u128::from(shard))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(shard_index: u32, counter: u64) -> String {
        let number = SequenceNumber {
            created_s: 1_700_000_000,
            shard_index,
            counter,
            put_s: 1_700_000_001,
        };
        number.to_string()
    }

    fn replay(lines: &[String]) -> Result<Verdict, LineError> {
        let mut replay = Replay::default();
        for line in lines {
            replay.line(line)?;
        }
        Ok(replay.finish())
    }

    /// Two records, acknowledged; the reader is shown `ids` with `numbers`, then the end.
    fn two_records(shown: &[(u64, Option<u64>)]) -> Verdict {
        let mut lines = vec![];
        for id in [1, 2] {
            lines.push(format!(r#"{{"begin":{{"id":{id},"shard":3}}}}"#));
            let number = number(3, id);
            lines.push(format!(r#"{{"acked":{{"id":{id},"number":"{number}"}}}}"#));
        }
        let records: Vec<_> = shown.iter().map(|(n, id)| (number(3, *n), id)).collect();
        let records = serde_json::to_string(&records).expect("plain values");
        lines.push(r#"{"reader":{"reader":1,"shard":3}}"#.to_owned());
        lines.push(r#"{"reading":{"reader":1}}"#.to_owned());
        lines.push(format!(
            r#"{{"saw":{{"reader":1,"records":{records},"end":false}}}}"#
        ));
        lines.push(r#"{"reading":{"reader":1}}"#.to_owned());
        lines.push(r#"{"saw":{"reader":1,"records":[],"end":true}}"#.to_owned());
        replay(&lines).expect("the lines are events")
    }

    #[test]
    fn a_history_that_kept_its_word_is_good() {
        let verdict = two_records(&[(1, Some(1)), (2, Some(2))]);
        assert!(verdict.is_good(), "{:?}", verdict.faults);
        assert_eq!(verdict.acked, 2);
    }

    #[test]
    fn a_missing_record_is_lost() {
        assert_eq!(two_records(&[(1, Some(1))]).lost, 1);
        assert!(two_records(&[]).lost >= 1);
    }

    #[test]
    fn a_record_that_is_shown_twice_is_doubled() {
        let verdict = two_records(&[(1, Some(1)), (2, Some(2)), (3, Some(2))]);
        assert!(verdict.doubled >= 1, "{:?}", verdict.faults);
    }

    #[test]
    fn records_in_each_others_place_are_not_good() {
        assert!(!two_records(&[(1, Some(2)), (2, Some(1))]).is_good());
    }

    #[test]
    fn a_damaged_payload_is_not_good() {
        assert!(!two_records(&[(1, Some(1)), (2, None)]).is_good());
    }

    #[test]
    fn an_empty_history_is_not_good() {
        assert!(!replay(&[]).expect("no line is wrong").is_good());
    }

    #[test]
    fn nonsense_is_named_with_its_line() {
        let begin = r#"{"begin":{"id":1,"shard":0}}"#.to_owned();
        let other = format!(r#"{{"acked":{{"id":1,"number":"{}"}}}}"#, number(1, 1));
        for (lines, wanted) in [
            (vec!["{}".to_owned()], "line 1 is no event"),
            (vec![begin.clone(), other], "line 2: a record for shard 0"),
            (
                vec![begin, r#"{"acked":{"id":1,"number":"x"}}"#.to_owned()],
                "line 2: sequence number x",
            ),
            (
                vec![r#"{"acked":{"id":9,"number":"1"}}"#.to_owned()],
                "line 1: record 9",
            ),
            (
                vec![r#"{"reading":{"reader":4}}"#.to_owned()],
                "line 1: reader 4",
            ),
        ] {
            let error = replay(&lines).err().expect("it is nonsense").to_string();
            assert!(error.starts_with(wanted), "{error}");
        }
    }
}
