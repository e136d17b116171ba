//! Loss: the rate of a TCP connection is about MSS / (RTT · √p), computed and compared with a simulated window.
//!
//! Source: Mathis, Semke, Mahdavi, Ott: The Macroscopic Behavior of the TCP Congestion Avoidance Algorithm (1997). The
//! factor in front is √(3/2) ≈ 1.22 where each segment is acknowledged.
#![allow(clippy::print_stdout, reason = "it talks to the person who runs it")]

/// Bytes in a segment on Ethernet: 1500 without the headers of IP and TCP.
const MSS: f64 = 1460.0;
/// Seconds there and back.
const RTT: f64 = 0.1;
const ROUNDS: u32 = 200_000;

/// Returns the rate that the formula gives, in bits a second.
fn formula(p: f64) -> f64 {
    MSS * 8.0 / (RTT * p.sqrt())
}

/// Returns the rate of a window that grows by one segment a round trip and is halved when a segment is lost.
fn simulated(p: f64, seed: u64) -> f64 {
    let mut chance = fastrand::Rng::with_seed(seed);
    let (mut window, mut sent) = (1.0_f64, 0.0);
    for _ in 0..ROUNDS {
        sent += window;
        // The chance that all segments of this round trip arrive.
        let all_arrive = (1.0 - p).powf(window);
        window = if chance.f64() < all_arrive { window + 1.0 } else { (window / 2.0).max(1.0) };
    }
    sent * MSS * 8.0 / (f64::from(ROUNDS) * RTT)
}

fn main() {
    println!("MSS {MSS} bytes, RTT {} ms", RTT * 1000.0);
    println!("     loss   MSS/(RTT·√p)      simulated   ratio");
    for (number, p) in (0..).zip([0.000_01, 0.000_1, 0.001, 0.01]) {
        let (computed, measured) = (formula(p), simulated(p, number));
        let ratio = measured / computed;
        let (computed, measured) = (computed / 1e6, measured / 1e6);
        println!("{:>8.3} %  {computed:>7.2} Mbit/s  {measured:>7.2} Mbit/s    {ratio:.2}", p * 100.0);
        assert!((0.9..1.7).contains(&ratio), "the window does not follow the formula");
    }
    // A hundred times the loss is a tenth of the rate.
    let tenfold = formula(0.000_1) / formula(0.01);
    println!("100 times the loss: a rate {tenfold:.0} times lower");
    assert!((tenfold - 10.0).abs() < 1e-6);
}
