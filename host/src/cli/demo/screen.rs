//! What the demo prints: a line for everything that happens, in colour where that is wanted, and a running
//! count where somebody watches. Into a pipe go plain lines without a control character. Knows nothing of
//! what it prints.

use crate::cli::{Environment, Exit, print};
use std::time::{Duration, Instant};

/// Standard output.
pub struct Screen {
    is_terminal: bool,
    has_colour: bool,
    /// A running count stands in the last line.
    is_running: bool,
    counted: Instant,
}

/// What kind of thing a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Somebody does harm.
    Harm,
    /// Something was done.
    Done,
    /// Something is right.
    Good,
    /// Something was seen or said.
    Said,
}

impl Screen {
    /// As `main` found it.
    pub fn new(environment: &Environment) -> Self {
        let Environment { is_terminal, has_colour, .. } = *environment;
        Self { is_terminal, has_colour, is_running: false, counted: Instant::now() }
    }

    /// What comes now.
    pub fn title(&mut self, text: &str) -> Result<(), Exit> {
        let text = self.painted("1", text);
        self.print(&format!("\n{text}\n"))
    }

    /// One thing that happened, `after` some fault or order.
    pub fn tell(&mut self, after: Option<Duration>, tone: Tone, word: &str, text: &str) -> Result<(), Exit> {
        let time = after.map_or_else(String::new, |after| format!("+{} ms", ms(after)));
        let colour = match tone {
            Tone::Harm => "31",
            Tone::Done => "36",
            Tone::Good => "32",
            Tone::Said => "0",
        };
        let word = self.painted(colour, &format!("{word:<11}"));
        self.print(&format!("{time:>12}  {word} {}\n", plain(text)))
    }

    /// A block of lines as it is.
    pub fn block(&mut self, text: &str) -> Result<(), Exit> {
        self.print(text)
    }

    /// Shows a count that goes on, where somebody watches, and not more often than can be read.
    pub fn count(&mut self, text: &str) -> Result<(), Exit> {
        if !self.is_terminal || self.counted.elapsed() < COUNT_EVERY {
            return Ok(());
        }
        self.counted = Instant::now();
        self.is_running = true;
        let text = self.painted("2", text);
        print(&format!("\r\x1b[2K{text}"))
    }

    fn print(&mut self, text: &str) -> Result<(), Exit> {
        let wiped = if std::mem::take(&mut self.is_running) { "\r\x1b[2K" } else { "" };
        print(&format!("{wiped}{text}"))
    }

    fn painted(&self, colour: &str, text: &str) -> String {
        let text = plain(text);
        if self.has_colour { format!("\x1b[{colour}m{text}\x1b[0m") } else { text }
    }
}

/// Milliseconds with one digit behind the point.
pub fn ms(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

/// A policy's or a server's words, on one line and without control characters.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

const COUNT_EVERY: Duration = Duration::from_millis(100);
