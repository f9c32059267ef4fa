//! Connects as each line of stdin says, a host, a port and a file of roots between tabs, and answers
//! with a line: what the server or rustls has to say to that. Every host is 127.0.0.1.

use std::error::Error;
use std::io::{BufRead, stdin};
use std::net::Ipv4Addr;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Builder;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

async fn attempt(line: &str) -> Result<(), Box<dyn Error>> {
    let fields: Vec<&str> = line.split('\t').collect();
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(fields[2])? {
        roots.add(root?)?;
    }
    let tls = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut config = Config::new();
    config
        .host(fields[0])
        .hostaddr(Ipv4Addr::LOCALHOST.into())
        .port(fields[1].parse()?)
        .user("somebody")
        .dbname("anything")
        .ssl_mode(SslMode::Require);
    config.connect(MakeRustlsConnect::new(tls)).await.map(drop)?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    for line in stdin().lock().lines() {
        let mut answer = String::new();
        if let Err(error) = runtime.block_on(attempt(&line?)) {
            let mut cause = Some(&*error);
            while let Some(error) = cause {
                answer += &format!("{error}: ");
                cause = error.source();
            }
        }
        println!("{}", answer.replace('\n', " "));
    }
    Ok(())
}
