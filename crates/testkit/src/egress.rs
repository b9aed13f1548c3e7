//! URLs by which people have tried to make a server post into its own network. `api` must refuse each when it is saved,
//! and `deliver` when it is sent to: both are asked with this one table.

/// At which rule a URL must fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is not a URL that a webhook can have.
    Url,
    /// It leads to an address that is not public.
    Address,
    /// It leads to a port of another protocol.
    Port,
}

/// Hosts that are, or lead to, an address that is not public.
const HOSTS: [&str; 92] = [
    // loopback, and its notations
    "127.0.0.1",
    "127.255.255.254",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0X7F.0x0.0.1",
    "0177.0.0.1",
    "017700000001",
    "0177.0x0.1",
    "127.0.0.1.",
    "127。0。0。1",
    "127．0．0．1",
    "127｡0｡0｡1",
    "①②⑦.⓪.⓪.①",
    "１２７.0.0.1",
    "𝟙𝟚𝟟.0.0.1",
    "%31%32%37.0.0.1",
    "127%2E0%2E0%2E1",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000::0001]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[::ffff:127.0.0.1]",
    "[::FFFF:7F00:1]",
    "[0:0:0:0:0:ffff:7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "localhost",
    "LOCALHOST",
    // nowhere in particular
    "0",
    "0.0.0.0",
    "0x0",
    "0.1.2.3",
    "[::]",
    "[::ffff:0.0.0.0]",
    // private
    "10.0.0.1",
    "10.255.255.255",
    "167772161",
    "0xa000001",
    "012.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "192.168.257",
    "3232235521",
    "[::ffff:192.168.0.1]",
    "[fc00::1]",
    "[fd12:3456:789a::1]",
    "[fec0::1]",
    "[feff::1]",
    // metadata of clouds
    "169.254.169.254",
    "169.254.43518",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[fd00:ec2::254]",
    "169.254.170.2",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    // link-local, shared
    "169.254.0.1",
    "[fe80::1]",
    "[febf::1]",
    "100.64.0.1",
    "100.127.255.255",
    // translated and tunnelled
    "[64:ff9b::7f00:1]",
    "[64:ff9b::10.0.0.1]",
    "[64:ff9b:1::1]",
    "[64:ff9b:1::a9fe:a9fe]",
    "[2002:7f00:1::]",
    "[2002:c0a8:1::1]",
    "[2002:808:808::1]",
    "[2001::1]",
    "[2001:0:53aa:64c:0:0:80ff:fffe]",
    "192.88.99.1",
    // for documentation, benchmarks, protocols and the future
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.1",
    "[2001:db8::1]",
    "[3fff::1]",
    "198.18.0.1",
    "[2001:2::1]",
    "[100::1]",
    "[5f00::1]",
    "240.0.0.1",
    "255.255.255.255",
    "[4000::1]",
];

/// Groups of listeners, which no webhook is meant for.
const MULTICAST: [&str; 4] = ["224.0.0.1", "239.255.255.250", "[ff02::1]", "[ff0e::1]"];

/// What stands between the slashes, when it is not a host alone; `{port}` is a port that listens on loopback.
const TRICKS: [&str; 13] = [
    "example.com@127.0.0.1:{port}",
    "user:password@127.0.0.1:{port}",
    "127.0.0.1:{port}@example.com",
    "example.com:80@127.0.0.1:{port}",
    "[::1",
    "[fe80::1%25eth0]",
    "[fe80::1%eth0]",
    "127.0.0.1:99999",
    "256.256.256.256",
    "127.0.0.1\t",
    "127.0.0.1\r\nHost: example.com",
    "0x7f.0.0.1.1",
    ":{port}",
];

/// Ports on public hosts that are not the web's.
const PORTS: [u16; 10] = [1, 22, 23, 25, 53, 110, 445, 3306, 6379, 11211];

/// The table; `port` is one that listens on loopback, so that a hole would show as a request that arrives.
pub fn forbidden_urls(port: u16) -> Vec<(String, Refusal)> {
    let host = |host: &&str| (format!("http://{host}:{port}/hook"), Refusal::Address);
    let trick =
        |trick: &&str| (format!("http://{}/hook", trick.replace("{port}", &port.to_string())), Refusal::Url);
    let mut urls: Vec<_> = HOSTS.iter().chain(&MULTICAST).map(host).collect();
    urls.extend(TRICKS.iter().map(trick));
    urls.extend(PORTS.iter().map(|port| (format!("https://192.0.43.8:{port}/"), Refusal::Port)));
    // other schemes, and the backslash that some parsers read as a host's end
    for url in ["file:///etc/passwd", "gopher://127.0.0.1:{port}/", "ftp://127.0.0.1/", "//127.0.0.1:{port}/"]
    {
        urls.push((url.replace("{port}", &port.to_string()), Refusal::Url));
    }
    urls.push((format!("http:\\\\127.0.0.1:{port}\\@example.com/"), Refusal::Address));
    urls.push((format!("http:127.0.0.1:{port}/"), Refusal::Address));
    urls.push((format!("http:///127.0.0.1:{port}/"), Refusal::Address));
    urls
}

/// URLs that look like those and are public.
pub const PUBLIC_URLS: [&str; 16] = [
    "https://1.1.1.1/",
    "https://8.8.8.8:8443/",
    "http://134744072/",
    "http://0x8.0x8.0x8.0x8/",
    "http://126.255.255.255/",
    "http://128.0.0.1/",
    "http://172.32.0.1/",
    "http://192.0.1.1/",
    "http://100.128.0.1/",
    "http://198.20.0.1/",
    "http://169.253.0.1/",
    "https://[2606:4700::1111]/",
    "https://[2001:4860:4860::8888]:8443/",
    "https://[::ffff:8.8.8.8]/",
    "https://[64:ff9b::808:808]/",
    "https://[2003::1]/",
];
