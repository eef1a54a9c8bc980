//! The last change of master as lines: masters, evidence, and the duration of each phase.

use super::text::{Paint, Tone, age, ms, plain};
use crate::kubernetes::crd::LastFailover;
use k8s_openapi::jiff::Timestamp;

/// A heading and one line per phase.
pub fn timeline(last: &LastFailover, paint: Paint, now: Timestamp) -> String {
    let mut text = format!(
        "{} {} ago, at {}\n",
        paint.tone(Tone::Head, "Last change of master"),
        age(&last.at, now),
        plain(&last.at)
    );
    text += &format!("  {}\n", story(last));
    let Some(parts) = &last.timeline else {
        return text + "  its durations are not known (yet)\n";
    };
    let phases = [
        ("detect", parts.detect_microseconds, "from the fault to its first sign"),
        ("decide", parts.decide_microseconds, "until the promotion was sent"),
        ("promote", Some(parts.promote_microseconds), "until it was confirmed"),
        ("re-point", parts.repoint_microseconds, "until the last of the other replicas followed"),
        ("publish", last.publish_microseconds, "from the promotion until the Pods' role labels showed it"),
        ("pause", parts.pause_microseconds, "during which writes waited; none was refused or lost"),
    ];
    for (phase, us, what) in phases {
        if let Some(us) = us {
            text += &format!("  {phase:<9}{:>12}   {}\n", ms(us), paint.tone(Tone::Faint, what));
        }
    }
    if let Some(bytes) = parts.known_loss_bytes.filter(|_| last.from.is_some()) {
        let (tone, loss) =
            if bytes == 0 { (Tone::Good, "0 bytes".into()) } else { (Tone::Bad, format!("{bytes} bytes")) };
        text += &format!("  known loss {}\n", paint.tone(tone, &loss));
    }
    text
}

/// The change as one sentence.
pub fn story(last: &LastFailover) -> String {
    let (to, from) =
        (plain(&last.to), last.from.as_deref().map_or_else(|| "the former master".into(), plain));
    let text = match last.evidence.as_str() {
        "Requested" => format!("{from} handed the role over to {to}, on request"),
        "Bootstrap" => format!("there was no master, and {to} became it"),
        "Dead" => format!("{from} was dead, and {to} took over"),
        "Silent" => format!("{from} was silent, and {to} took over"),
        "Abdicated" => format!("{from} was no longer a master, and {to} took over"),
        "Amnesic" => format!("{from} came back without its data, and {to} took over"),
        other => format!("{to} took over from {from}: {}", plain(other)),
    };
    if last.meant_for == last.to {
        text
    } else {
        format!("{text}, until {} has caught up", plain(&last.meant_for))
    }
}
