//! One history as a picture: who was master, the faults, the pauses of writes, and the losses by class.

use super::history::History;
use std::fmt::Write as _;

/// An SVG, as wide as it was long.
pub fn draw(history: &History) -> String {
    let scale = (WIDTH - 2.0 * EDGE) / history.took.max(0.001);
    let x = |seconds: f64| EDGE + seconds * scale;
    let height = 230.0 + 16.0 * history.faults.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    text(&mut svg, EDGE, 20.0, &history.title);
    for (row, name) in ["server 0", "server 1", "server 2"].iter().enumerate() {
        text(&mut svg, 8.0, 58.0 + 24.0 * row as f64, name);
    }
    let ends = history.masters.iter().skip(1).map(|(at, _)| *at).chain([history.took]);
    for ((from, master), to) in history.masters.iter().zip(ends) {
        if let Some(master) = master {
            bar(&mut svg, x(*from), 44.0 + 24.0 * *master as f64, x(to) - x(*from), "#2a7", "master");
        }
    }
    text(&mut svg, 8.0, 130.0, "no writes");
    for (from, to) in &history.pauses {
        bar(&mut svg, x(*from), 116.0, x(*to) - x(*from), "#c80", &format!("{:.3} s", to - from));
    }
    text(&mut svg, 8.0, 154.0, "lost");
    for (at, is_replicated) in &history.losses {
        let colour = if *is_replicated { "#c00" } else { "#999" };
        bar(
            &mut svg,
            x(*at),
            140.0,
            1.0,
            colour,
            if *is_replicated { "a replica had it" } else { "no replica" },
        );
    }
    for (place, (at, what)) in history.faults.iter().enumerate() {
        let y = 190.0 + 16.0 * place as f64;
        let _ = writeln!(
            svg,
            "<line x1=\"{0:.1}\" y1=\"36\" x2=\"{0:.1}\" y2=\"{y}\" stroke=\"#aaa\" stroke-dasharray=\"2 3\"/>",
            x(*at)
        );
        text(&mut svg, x(*at) + 3.0, y, &format!("{at:.2} s {what}"));
    }
    svg + "</svg>\n"
}

fn bar(svg: &mut String, x: f64, y: f64, width: f64, colour: &str, title: &str) {
    let width = width.max(1.0);
    let _ = writeln!(
        svg,
        "<rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"18\" fill=\"{colour}\"><title>{title}</title></rect>"
    );
}

fn text(svg: &mut String, x: f64, y: f64, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y}\">{words}</text>");
}

const WIDTH: f64 = 1200.0;
const EDGE: f64 = 90.0;
