//! x
fn main() {
    let v: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(std::env::args().nth(1).unwrap()).unwrap()).unwrap();
    let o: failover_core::contract::Observation = serde_json::from_value(v["observation"].clone()).unwrap();
    let n: u32 = std::env::args().nth(2).unwrap().parse().unwrap();
    let t = std::time::Instant::now();
    for _ in 0..n {
        std::hint::black_box(failover_core::decide(std::hint::black_box(&o)));
    }
    println!("{:?} {}", t.elapsed() / n, failover_core::decide(&o).explanation);
}
