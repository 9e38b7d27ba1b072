"""Where the demo's recipients live, and the names among them that programs stumble over. Data for the generator."""

from typing import NamedTuple


class Country(NamedTuple):
    """A Faker locale for names, its share of the list, and what is ours: language (BCP 47), currency, real cities."""

    locale: str
    share: int
    language: str
    currency: str
    cities: tuple[str, ...]


COUNTRIES: tuple[Country, ...] = (
    Country("en_GB", 14, "en", "GBP", ("London", "Leeds", "Cardiff", "Aberystwyth", "Belfast")),
    Country("de_DE", 9, "de", "EUR", ("München", "Köln", "Görlitz", "Lübeck", "Weißenfels")),
    Country("fr_FR", 8, "fr", "EUR", ("Besançon", "Nîmes", "Orléans", "Saint-Étienne", "Œuilly")),
    Country("es_ES", 7, "es", "EUR", ("Málaga", "A Coruña", "Logroño", "Cádiz", "León")),
    Country("pt_BR", 5, "pt", "BRL", ("São Paulo", "Belém", "Florianópolis", "Maceió", "Goiânia")),
    Country("pl_PL", 4, "pl", "PLN", ("Łódź", "Gdańsk", "Kraków", "Rzeszów", "Świdnica")),
    Country("cs_CZ", 3, "cs", "CZK", ("Plzeň", "České Budějovice", "Hradec Králové", "Třebíč", "Jičín")),
    Country("tr_TR", 4, "tr", "TRY", ("İstanbul", "Diyarbakır", "Eskişehir", "Muğla", "Çanakkale")),  # noqa: RUF001
    Country("sv_SE", 2, "sv", "SEK", ("Göteborg", "Malmö", "Örebro", "Växjö", "Umeå")),
    Country("hu_HU", 3, "hu", "HUF", ("Győr", "Székesfehérvár", "Nyíregyháza", "Pécs", "Hódmezővásárhely")),
    Country("ru_RU", 5, "ru", "RUB", ("Тверь", "Ярославль", "Новосибирск", "Казань", "Архангельск")),
    Country("uk_UA", 4, "uk", "UAH", ("Київ", "Львів", "Чернівці", "Одеса", "Запоріжжя")),
    Country("el_GR", 3, "el", "EUR", ("Αθήνα", "Θεσσαλονίκη", "Ηράκλειο", "Ιωάννινα", "Ναύπλιο")),
    Country("ar_AA", 4, "ar", "AED", ("القاهرة", "عمّان", "بيروت", "الرباط", "دبي")),
    Country("he_IL", 3, "he", "ILS", ("חיפה", "באר שבע", "תל אביב-יפו", "נצרת", "אילת")),
    Country("zh_CN", 6, "zh", "CNY", ("北京", "成都", "哈尔滨", "厦门", "乌鲁木齐")),
    Country("ja_JP", 5, "ja", "JPY", ("東京", "札幌", "京都", "那覇", "広島")),
    Country("ko_KR", 4, "ko", "KRW", ("서울", "부산", "전주", "제주", "강릉")),
    Country("hi_IN", 4, "hi", "INR", ("दिल्ली", "वाराणसी", "जयपुर", "पुणे", "भोपाल")),
    Country("th_TH", 2, "th", "THB", ("กรุงเทพมหานคร", "เชียงใหม่", "ขอนแก่น", "ภูเก็ต", "อุบลราชธานี")),
    Country("ka_GE", 2, "ka", "GEL", ("თბილისი", "ქუთაისი", "ბათუმი", "თელავი", "გორი")),
    Country("bn_BD", 2, "bn", "BDT", ("ঢাকা", "চট্টগ্রাম", "খুলনা", "সিলেট", "রাজশাহী")),
)

AWKWARD: tuple[tuple[str, str], ...] = (
    ("Seán", "O’Brien, Jr."),  # noqa: RUF001
    ('Anne "Annie"', "Smith"),
    ("<b>Bobby</b>", "Tables"),
    ("{{ 7 * 7 }}", "Braces"),
    ("{{{first_name|nobody}}}", "Triple"),
    ("Zoë 🎉", "van der Berg"),
    ("Back\\slash", "Müller"),
    ("J.", "von Neumann (Prof.)"),
    ("=SUM(A1:A9)", "Cell"),
    ("& Sons", "Fish; Chips"),
    ("नागार्जुन", "गुप्त"),
    ("Þórður", "Ævarsson"),
)
"""Names that are right, and that must arrive as they are: quotes, markup, template braces, right-to-left, emoji."""
