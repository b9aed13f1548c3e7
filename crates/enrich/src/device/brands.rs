//! Names of brands that no code of the table begins with, for their makers ask Google for nothing: phones for few
//! countries, television sets and boxes, readers.

/// As they spell themselves. No words that other makers call a device by.
const NAMES: &str = "\
    Akari, Artfone, Ascrecem, Assistant, Bea-fon, Beelink, Bigme, Bmorn, Bullitt, Concorde, \
    Consumer Cellular, Coocaa, Diggio, Digihome, Dragon Touch, Dune HD, Eken, Eltex, Energy Sistem, \
    Exclusiv, Ezcool, Ferguson, Freelander, Geotel, Haipad, Hartens, HMD, Hosin, Humax, iconBIT, \
    iFFalcon, Invin, iQOO, Jiayu, Jitterbug, Kaon, Keneksi, Kocaso, KrugerMatz, Krüger&Matz, Lectrus, \
    Loewe, Makena, Metz, Moderness, Nabo, Navroad, Newman, Newsmy, Ninetology, Novex, NYX, Okapia, \
    Onida, Orbsmart, Pacrate, Pandigital, Perfeo, Point of View, Polarline, Polypad, Prology, Punkt, \
    Ramos, Ritmix, RoverPad, S-TELL, Sanei, Selenga, Serioux, Shivaki, Smartisan, Sonim, Supra, Szenio, \
    Tanix, Technika, TechniSat, Topdevice, Turbo-X, Tuvio, Ugoos, Uhans, Utok, Vekta, Volla, Vontar, \
    Voyo, Winstar, Wolder, Yarvik, Zenithink, Zidoo";

/// The names, one by one.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.split(", ")
}
