//! Which words are written when: the same words again count up one Event, other words are another
//! Event, and an object that changes all the time is told of now and then, with its newest words.
//!
//! Pure: no client, no clock. Start with [`Desk::tell`] and [`Desk::next`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use millstream_types::Millis;

/// Most topics that wait to be written, over all objects.
const WAITING_MAX: usize = 10_000;
/// Writes about one object without a pause.
const BURST: u32 = 10;
/// After a burst: one more write about the object in this time.
const ONE_MORE_EACH: Duration = Duration::from_secs(20);
/// The same words count up their Event for this long since it was written; later they are a new one.
/// Far less than the hour for which an API server keeps Events.
const SAME_FOR: Duration = Duration::from_secs(600);
/// Most words that are remembered of one object.
const REMEMBERED_MAX: usize = 16;
/// How often objects of which nobody speaks any more are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Most tries to write the same words.
const TRIES_MAX: u32 = 3;

/// What an Event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// The object's `apiVersion`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// Of newer words on one topic the older ones need not be written any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Topic {
    /// Whether somebody should look.
    pub is_warning: bool,
    /// The stable word.
    pub reason: String,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Words {
    /// What about.
    pub topic: Topic,
    /// The sentence.
    pub note: String,
}

/// An Event to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What it is about.
    pub subject: Subject,
    /// What it says.
    pub words: Words,
    /// When that was told last.
    pub at: Millis,
    /// The Event that says so already, and how often with this time; none: a new one.
    pub again: Option<(String, u32)>,
    times: u32,
    tries: u32,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Write this, and tell the desk what came of it.
    Write(Box<Job>),
    /// Look again at this moment, or when something is told.
    At(Duration),
    /// Wait until something is told.
    Nothing,
}

/// How a write failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The Event that was to be counted up is gone.
    Gone,
    /// The API server may take it a little later.
    Passing,
    /// It never will.
    Refused,
}

/// What was told, and what of it was written.
#[derive(Debug, Default)]
pub struct Desk {
    subjects: BTreeMap<Subject, Sheet>,
    /// Each topic that waits, once.
    queue: VecDeque<(Subject, Topic)>,
    swept: Duration,
}

#[derive(Debug)]
struct Sheet {
    writes_left: u32,
    filled: Duration,
    used: Duration,
    written: BTreeMap<Words, Written>,
    waiting: BTreeMap<Topic, Waiting>,
}

#[derive(Debug)]
struct Written {
    event: String,
    count: u32,
    at: Duration,
}

#[derive(Debug)]
struct Waiting {
    note: String,
    at: Millis,
    times: u32,
    tries: u32,
}

impl Desk {
    /// Takes words about `subject`. `now` is monotonic, `at` the time of day. Whether there was
    /// room.
    pub fn tell(&mut self, subject: &Subject, words: Words, at: Millis, now: Duration) -> bool {
        let Words { topic, note } = words;
        let is_full = self.queue.len() >= WAITING_MAX;
        let sheet = self.sheet(subject, now);
        if let Some(waiting) = sheet.waiting.get_mut(&topic) {
            if waiting.note == note {
                waiting.times = waiting.times.saturating_add(1);
                waiting.at = at;
            } else {
                *waiting = Waiting::new(note, at);
            }
            return true;
        }
        if is_full {
            return false;
        }
        sheet.waiting.insert(topic.clone(), Waiting::new(note, at));
        self.queue.push_back((subject.clone(), topic));
        true
    }

    /// What to do at `now`.
    pub fn next(&mut self, now: Duration) -> Next {
        self.sweep(now);
        let mut soonest: Option<Duration> = None;
        for place in 0..self.queue.len() {
            let (subject, topic) = &self.queue[place];
            let Some(sheet) = self.subjects.get_mut(subject) else {
                continue;
            };
            sheet.refill(now);
            if sheet.writes_left == 0 {
                let moment = sheet.filled.saturating_add(ONE_MORE_EACH);
                soonest = Some(soonest.map_or(moment, |found| found.min(moment)));
                continue;
            }
            let Some(waiting) = sheet.waiting.remove(topic) else {
                continue;
            };
            sheet.writes_left -= 1;
            sheet.used = now;
            let words = Words {
                topic: topic.clone(),
                note: waiting.note,
            };
            let again = sheet.again(&words, waiting.times, now);
            let job = Job {
                subject: subject.clone(),
                words,
                at: waiting.at,
                again,
                times: waiting.times,
                tries: waiting.tries,
            };
            self.queue.remove(place);
            return Next::Write(Box::new(job));
        }
        soonest.map_or(Next::Nothing, Next::At)
    }

    /// The job is done: the Event of this name says it.
    pub fn written(&mut self, job: Job, event: String, now: Duration) {
        let count = job.again.map_or(job.times, |(_, count)| count);
        let sheet = self.sheet(&job.subject, now);
        let written = Written {
            event,
            count,
            at: now,
        };
        sheet.written.insert(job.words, written);
        if sheet.written.len() > REMEMBERED_MAX {
            let oldest = sheet.written.iter().min_by_key(|(_, written)| written.at);
            if let Some(words) = oldest.map(|(words, _)| words.clone()) {
                sheet.written.remove(&words);
            }
        }
    }

    /// The job was not done. Whether it is tried again.
    pub fn failed(&mut self, job: Job, how: Failed, now: Duration) -> bool {
        let tries = job.tries + 1;
        let sheet = self.sheet(&job.subject, now);
        if how == Failed::Gone {
            sheet.written.remove(&job.words);
        }
        if how == Failed::Refused || tries >= TRIES_MAX {
            return false;
        }
        let topic = job.words.topic;
        if sheet.waiting.contains_key(&topic) {
            // There are newer words.
            return true;
        }
        let waiting = Waiting {
            note: job.words.note,
            at: job.at,
            times: job.times,
            tries,
        };
        sheet.waiting.insert(topic.clone(), waiting);
        self.queue.push_back((job.subject, topic));
        true
    }

    fn sheet(&mut self, subject: &Subject, now: Duration) -> &mut Sheet {
        let sheet = self.subjects.entry(subject.clone());
        sheet.or_insert_with(|| Sheet {
            writes_left: BURST,
            filled: now,
            used: now,
            written: BTreeMap::new(),
            waiting: BTreeMap::new(),
        })
    }

    /// Forgets what nobody needs: its words are old, and its writes are all there again.
    fn sweep(&mut self, now: Duration) {
        if now.saturating_sub(self.swept) < SWEEP_EVERY {
            return;
        }
        self.swept = now;
        self.subjects.retain(|_, sheet| {
            !sheet.waiting.is_empty() || now.saturating_sub(sheet.used) < SAME_FOR
        });
    }
}

impl Waiting {
    const fn new(note: String, at: Millis) -> Self {
        Self {
            note,
            at,
            times: 1,
            tries: 0,
        }
    }
}

impl Sheet {
    fn refill(&mut self, now: Duration) {
        while self.writes_left < BURST && now.saturating_sub(self.filled) >= ONE_MORE_EACH {
            self.writes_left += 1;
            self.filled += ONE_MORE_EACH;
        }
        if self.writes_left >= BURST {
            self.filled = now;
        }
    }

    fn again(&self, words: &Words, times: u32, now: Duration) -> Option<(String, u32)> {
        let written = self.written.get(words)?;
        let is_recent = now.saturating_sub(written.at) < SAME_FOR;
        is_recent.then(|| (written.event.clone(), written.count.saturating_add(times)))
    }
}

#[cfg(test)]
mod tests;
