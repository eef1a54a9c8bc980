//! Numbers and how they are printed.

/// Measurements of one thing, in milliseconds.
#[derive(Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    pub fn add(&mut self, took: std::time::Duration) {
        self.0.push(took.as_secs_f64() * 1000.0);
        self.0.sort_by(f64::total_cmp);
    }

    pub fn median(&self) -> f64 {
        match self.0.len() {
            0 => f64::NAN,
            count if count % 2 == 1 => self.0[count / 2],
            count => f64::midpoint(self.0[count / 2 - 1], self.0[count / 2]),
        }
    }

    pub fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    /// One row of a table.
    pub fn print(&self, name: &str, further: &str) {
        let min = self.0.first().copied().unwrap_or(f64::NAN);
        println!(
            "  {name:<34} min {min:>8.1}  median {:>8.1}  max {:>8.1} ms  (n={}) {further}",
            self.median(),
            self.max(),
            self.0.len()
        );
    }
}

/// Prints whether a bound is kept.
pub fn verdict(what: &str, value: f64, bound: f64) {
    let word = if value <= bound { "kept" } else { "MISSED" };
    println!("  target {what} <= {bound}: {value:.2} {word}");
}
