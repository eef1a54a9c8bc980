//! Formatting for a screen: columns, colours, ages, and foreign text on one line. Knows nothing of its
//! content.

use k8s_openapi::jiff::Timestamp;

/// Colours, if they are enabled.
#[derive(Clone, Copy, Debug)]
pub struct Paint(pub bool);

/// Meaning of a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// All is well.
    Good,
    /// Something is in progress, or not proven.
    Warn,
    /// Something is wrong.
    Bad,
    /// A heading.
    Head,
    /// Less important.
    Faint,
    /// Without colour.
    Plain,
}

impl Paint {
    /// The text in its colour.
    pub fn tone(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
            Tone::Head => "1",
            Tone::Faint => "2",
            Tone::Plain => return text.to_owned(),
        };
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Columns as wide as their widest cell, below a heading. Cells are padded after painting, since colours
    /// have no width.
    pub fn table(self, heads: &[&str], rows: &[Vec<(Tone, String)>]) -> String {
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|(_, cell)| cell.chars().count());
            cells.chain(heads.get(column).map(|head| head.len())).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..heads.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = (Tone, &str)>| {
            let mut text = String::new();
            for ((tone, cell), width) in cells.zip(&widths) {
                text += &self.tone(tone, cell);
                text += &" ".repeat(width.saturating_sub(cell.chars().count()) + 3);
            }
            text.trim_end().to_owned() + "\n"
        };
        let mut text = line(&mut heads.iter().map(|head| (Tone::Faint, *head)));
        for row in rows {
            text += &line(&mut row.iter().map(|(tone, cell)| (*tone, cell.as_str())));
        }
        text
    }
}

/// Text of policies, servers and people, on one line and without control characters.
pub fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// A cell that may be empty.
pub fn or_dash(cell: Option<impl ToString>) -> String {
    cell.map_or_else(|| "-".into(), |cell| plain(&cell.to_string()))
}

/// The time since an RFC 3339 time, in the form of kubectl: `45s`, `12m`, `3h`, `2d`.
pub fn age(at: &str, now: Timestamp) -> String {
    let Ok(at) = at.parse::<Timestamp>() else { return "?".into() };
    match now.as_second().saturating_sub(at.as_second()).max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// Microseconds in milliseconds, with one decimal.
pub fn ms(us: i64) -> String {
    format!("{}.{} ms", us / 1000, us % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_with_and_without_colour() {
        let rows = [
            vec![(Tone::Good, "a".into()), (Tone::Plain, "longer".into())],
            vec![(Tone::Plain, "bbbbbb".into()), (Tone::Bad, "-".into())],
        ];
        assert_eq!(Paint(false).table(&["ONE", "TWO"], &rows), "ONE      TWO\na        longer\nbbbbbb   -\n");
        assert!(Paint(true).table(&["ONE", "TWO"], &rows).contains("\x1b[32ma\x1b[0m        longer\n"));
    }

    #[test]
    fn ages_are_those_of_kubectl_and_times_are_milliseconds() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let ago = |seconds: i64| age(&Timestamp::from_second(1_000_000 - seconds).unwrap().to_string(), now);
        assert_eq!([ago(-3), ago(45), ago(600), ago(7_200), ago(172_800)], ["0s", "45s", "10m", "2h", "2d"]);
        assert_eq!(
            (age("yesterday", now), ms(1_732), ms(12)),
            ("?".into(), "1.7 ms".into(), "0.0 ms".into())
        );
    }
}
