//! Makers' own schemes of codes, for codes that the table does not list: makers number their devices alike for years.

use std::sync::LazyLock;

use regex::RegexSet;

/// How a code looks, and whose it is. The first that fits counts.
const SCHEMES: &[(&str, &str)] = &[
    (r"^AFT[A-Z]|^KF[A-Z]|^Fire HD\b", "Amazon"),
    (r"^RMX\d|^RMP\d", "realme"),
    // numbered with those of Oppo, without a mark of their own
    (
        r"^CPH2(?:4(?:47|49|51|6[57]|87|9[13])|5(?:1[35]|51|69|73|8[135])|6(?:09|11|13|19|21|4[579]|5[35]|6[13]|91)|7(?:23|4[157]|9[35]))$",
        "OnePlus",
    ),
    (r"^OPD2(?:203|30[45]|403|415)$|^P(?:HB|HK|HP|JA|JD|JE|JF|JX|JZ|KG|KR|KX|GP|GZ)110$", "OnePlus"),
    // as sold in China
    (r"^P[A-Z]{2}[A-Z1]\d0$", "Oppo"),
    (r"^CPH\d|^OPD\d", "Oppo"),
    (r"^A(?:001T?|015|024|059P?|06[359]P?|142P?)$", "Nothing"),
    (
        r"^(?:ANY|CLK|CMA|CRT|GFY|JDY|LLY|NTN|RKY|TFY|VNE|WDY)-L|^(?:ELN|GDI|HEY|ROD)\d?-W|^[A-Z]{3}\d?-W\d\dHN$",
        "Honor",
    ),
    (r"^[A-Z]{3}[KR]-W\d\d", "Huawei"),
    (r"^SM-[A-Z]", "Samsung"),
    (r"^TB-?[A-Z\d]\w*\d|^YT\d?-", "Lenovo"),
    (r"^XQ-[A-Z]|^SO[GV]\d\d$|^SO-(?:0\d[G-Z]|[1-9]\d[A-Z])|^NSZ-|^EBRD\d", "Sony"),
    (r"^XT\d|^moto(?:rola)? ", "Motorola"),
    (r"^V2\d{3}[A-Z]{0,2}$|^I2\d{3}$|^PA2\d{3}$", "Vivo"),
    // year, month, project, region: `23113RKC6G`
    (r"^2\d(?:0[1-9]|1[0-2])[A-Z\d]{3,7}[A-Z]$|^M20\d\d[A-Z]\d|^MiTV|^MI ?BOX", "Xiaomi"),
    (r"^NX\d{3}J", "Nubia"),
    // year: the code of a network before the maker's letters, as the Japanese sell them
    (r"^[A-Z]?\d{3}SH$|^SH-\d\d[A-Z]|^SH[GV]\d\d", "Sharp"),
    (r"^[A-Z]?\d{3}KC$|^KY[GV]\d\d", "Kyocera"),
    (r"^[A-Z]\d{3}SO$", "Sony"),
    (r"^F-\d\d[A-Z]$|^M0\d-\w|^arrows", "Fujitsu"),
    (r"^(?:Le X|LEX)\d", "LeEco"),
    (r"^[45]0\d\d[A-Z]|^[456]\d{3}[A-Z]|^8[01]\d\d[A-Z]?$", "Alcatel"),
    (r"^9[14]\d\d[A-Z]", "TCL"),
    (r"^FP\d$", "Fairphone"),
    (r"^S(?:42|48c|52|62(?: Pro)?|75)$", "Cat"),
    (r"^XP\d[789]00$|^XP(?:38|59)00$", "Sonim"),
    (r"^(?:GS(?:\d|[1-4]\d0|1[89]5)|GX(?:\d|290))(?i: ?(?:lite|pro|plus))?$", "Gigaset"),
    (r"^(?:Titan(?: Pocket| Slim)?|Jelly(?:2E?| Star| Pro| Max)?|Atom X?L|TickTock)$", "Unihertz"),
    (r"^(?:STELLAR|CORE|ACTION|TREKKER)-[A-Z]\d", "Crosscall"),
    (
        r"^(?:M40|P(?:20|25|30|40|85)|T(?:40|45|50))(?i:_?(?:HD|S|T|Pro|Air|SE|Plus|Max))?_(?:ROW|EEA|RU)$",
        "Teclast",
    ),
    (r"^VFD ", "Vodafone"),
    (r"^1000\d{5}$", "Onn"),
    (r"^WP\d\d?(?:$| )", "Oukitel"),
    (r"^B[VL]\d{4}", "Blackview"),
    (r"^(?:Power )?Armor ", "Ulefone"),
    (r"^KING ?KONG", "Cubot"),
    (r"^BISON", "Umidigi"),
    (r"^T[MX]-\d{4}", "teXet"),
    (r"(?i)^bq-\d{4}|^Aquaris ", "BQ"),
    (r"^PMT\d|^PSP\d{4}", "Prestigio"),
    (r"^Iconia", "Acer"),
    (r"^(?:MeMO Pad|Transformer|Zen[Ff]one|Zen[Pp]ad)", "Asus"),
    (r"^HP ?Slate|^Slate \d", "HP"),
    (r"^Venue ?\d", "Dell"),
    (r"^SurfTab", "TrekStor"),
    (r"^(?i:lifetab)", "Medion"),
    (r"^(?:Redmi|POCO|HM NOTE|MI PAD)\b", "Xiaomi"),
    (r"^(?:BOOX|Note(?:Air|X)|Nova(?:Air)?\d|Poke\d|Leaf\d|MaxLumi|TabUltra)", "Onyx"),
    (r"^BRAVIA", "Sony"),
    (r"^AQUOS", "Sharp"),
    (r"^Chromecast", "Google"),
    (r"^SHIELD", "Nvidia"),
];

/// The shape of Huawei's codes, which Honor took along: three letters of the family, perhaps its generation, networks.
const HUAWEI: &[(&str, &str)] = &[
    // Huawei's last phones of the fifth generation of networks before Honor stood by itself
    (
        r"^(?:ANA|ANG|CND|ELS|EVR|JEF|JER|LIO|NOH|NOP|OCE|TAH|TAS|TET)-(?:AN|NX|N)\d|^CDY-(?:NX9|AN00)",
        "Huawei",
    ),
    // since then, Honor alone sells phones of this network
    (r"^[A-Z]{3}\d?-(?:AN|NX|N)\d", "Honor"),
    (r"^[A-Z]{3}\d?-(?:AL|TL|LX|BX|L|W|U)\d\d?|^M[2356]-[A8]\d\d[LW]", "Huawei"),
];

/// A maker, by the name that the rules know, and its brands that have a name of their own.
const BRANDS_OF: [(&str, &str); 14] = [
    ("Oppo", "OnePlus"),
    ("Oppo", "realme"),
    ("Huawei", "Honor"),
    ("ZTE", "Nubia"),
    (SONY_ERICSSON, "Sony"),
    // no brands of theirs: the rules take all codes of a shape for theirs
    ("Gionee", "OnePlus"),
    ("LG", "Honor"),
    ("vivo", "Blu"),
    ("Maxx", "BMobile"),
    ("Celkon", "Honeywell"),
    ("Qmobilevn", "QMobile"),
    ("Mpman", "Meitu"),
    ("Simvalley", "Siragon"),
    ("XiaoMi", "Haier"),
];

/// Made phones until 2012, and was Sony's alone from then on.
const SONY_ERICSSON: &str = "SonyEricsson";

static SCHEMES_SET: LazyLock<RegexSet> = LazyLock::new(|| compile(SCHEMES));

static HUAWEI_SET: LazyLock<RegexSet> = LazyLock::new(|| compile(HUAWEI));

/// The maker whose scheme a code follows.
pub fn brand_of(code: &str) -> Option<&'static str> {
    first(&SCHEMES_SET, SCHEMES, code)
}

/// The maker whose code it may be: that of a shape which two makers use, or that others copy.
pub fn likely_brand_of(code: &str) -> Option<&'static str> {
    first(&HUAWEI_SET, HUAWEI, code)
}

/// The letters of a code in Huawei's shape that its whole family begins with: `BAH` of `BAH4-W09`.
pub fn family(code: &str) -> Option<&str> {
    HUAWEI_SET.is_match(code).then(|| code.get(..3)).flatten().filter(|family| !family.contains('-'))
}

/// Which of a maker's brands a device is, where the rules know the maker: by its code, else by what the table lists.
pub fn own_brand<'a>(code: &str, ruled: &str, listed: Option<&'a str>) -> Option<&'a str> {
    let is_own = |brand: &&str| {
        BRANDS_OF.iter().any(|(maker, own)| *maker == ruled && own.eq_ignore_ascii_case(brand))
    };
    // the table has the name of Sony on the phones of before, too
    brand_of(code).filter(is_own).or_else(|| listed.filter(is_own).filter(|_| ruled != SONY_ERICSSON))
}

fn first(set: &RegexSet, schemes: &[(&str, &'static str)], code: &str) -> Option<&'static str> {
    set.matches(code).iter().next().map(|at| schemes[at].1)
}

fn compile(schemes: &[(&str, &str)]) -> RegexSet {
    RegexSet::new(schemes.iter().map(|(pattern, _)| pattern)).expect("a test uses every pattern")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makers_number_their_devices_alike() {
        for (code, brand) in [
            ("KFTRWI", "Amazon"),
            ("RMX3939", "realme"),
            ("OPD2404", "Oppo"),
            ("OPD2403", "OnePlus"),
            ("CPH2581", "OnePlus"),
            ("CPH2387", "Oppo"),
            ("A065", "Nothing"),
            ("PHB110", "OnePlus"),
            ("PKB110", "Oppo"),
            ("TB-8506FS", "Lenovo"),
            ("TB373FU", "Lenovo"),
            ("YT3-850M", "Lenovo"),
            ("SO-52C", "Sony"),
            ("V2339FA", "Vivo"),
            ("I2206", "Vivo"),
            ("2312DRA50G", "Xiaomi"),
            ("24091RPADG", "Xiaomi"),
            ("220333QAG", "Xiaomi"),
            ("NX721J", "Nubia"),
            ("A201SO", "Sony"),
            ("902SH", "Sharp"),
            ("9491G", "TCL"),
            ("5033D_EEA", "Alcatel"),
            ("100011886", "Onn"),
            ("WP30 Pro", "Oukitel"),
            ("NoteAir2P", "Onyx"),
            ("WDY-LX1", "Honor"),
            ("AGR-W09HN", "Honor"),
            ("SCMR-W09", "Huawei"),
            ("S62 Pro", "Cat"),
            ("GS5", "Gigaset"),
            ("Titan Pocket", "Unihertz"),
            ("STELLAR-X5", "Crosscall"),
            ("T45HD_ROW", "Teclast"),
        ] {
            assert_eq!(brand_of(code), Some(brand), "{code}");
        }
        for code in [
            "2019",
            "20230101",
            "M60_EEA",
            "P10_EEA",
            "S41",
            "XP8106",
            "GS656",
            "V21",
            "A95",
            "S110",
            "WPHONE",
            "MOTOR",
            "2313RKC6G",
            "",
        ] {
            assert_eq!(brand_of(code), None, "{code}");
        }
    }

    #[test]
    fn huawei_and_honor_share_a_shape() {
        assert_eq!(likely_brand_of("ELI-NX9"), Some("Honor"));
        assert_eq!(likely_brand_of("MAA-AN10"), Some("Honor"));
        assert_eq!(likely_brand_of("NOH-NX9"), Some("Huawei"));
        assert_eq!(likely_brand_of("ADY-LX9"), Some("Huawei"));
        assert_eq!(likely_brand_of("BAH4-W09"), Some("Huawei"));
        assert_eq!(likely_brand_of("M2-801W"), Some("Huawei"));
        assert_eq!(likely_brand_of("SH-53C"), None);
        assert_eq!((family("BAH4-W09"), family("M2-801W"), family("X")), (Some("BAH"), None, None));
    }

    #[test]
    fn a_brand_says_more_than_its_maker() {
        assert_eq!(own_brand("RMX3939", "Oppo", None), Some("realme"));
        assert_eq!(own_brand("CPH2449", "Oppo", Some("OnePlus")), Some("OnePlus"));
        assert_eq!(own_brand("SO-52C", "SonyEricsson", None), Some("Sony"));
        assert_eq!(own_brand("SO-01E", "SonyEricsson", Some("Sony")), None);
        assert_eq!(own_brand("SM-A546B", "Oppo", Some("Samsung")), None);
    }
}
