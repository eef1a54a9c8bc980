//! The output of the demo: a line for every event, coloured if enabled, and a running count on a terminal. A
//! pipe gets plain lines without control characters. Knows nothing of its content.

use crate::cli::{Environment, Exit, print};
use std::time::{Duration, Instant};

/// Standard output.
pub struct Screen {
    is_terminal: bool,
    has_colour: bool,
    /// The last line is a running count.
    is_running: bool,
    counted: Instant,
}

/// The kind of event that a line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// A fault.
    Harm,
    /// A completed action.
    Done,
    /// A good state.
    Good,
    /// An observation or a request.
    Said,
}

impl Screen {
    /// For the terminal that `main` found.
    pub fn new(environment: &Environment) -> Self {
        let Environment { is_terminal, has_colour, .. } = *environment;
        Self { is_terminal, has_colour, is_running: false, counted: Instant::now() }
    }

    /// Prints the title of the next chapter.
    pub fn title(&mut self, text: &str) -> Result<(), Exit> {
        let text = self.painted("1", text);
        self.print(&format!("\n{text}\n"))
    }

    /// Prints one event, `after` the last fault or request.
    pub fn event(&mut self, after: Option<Duration>, tone: Tone, word: &str, text: &str) -> Result<(), Exit> {
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

    /// Prints a block of lines unchanged.
    pub fn block(&mut self, text: &str) -> Result<(), Exit> {
        self.print(text)
    }

    /// Shows a running count on a terminal, no more often than is readable.
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

/// Milliseconds with one decimal.
pub fn ms(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

/// Text of a policy or a server, on one line and without control characters.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

const COUNT_EVERY: Duration = Duration::from_millis(100);
