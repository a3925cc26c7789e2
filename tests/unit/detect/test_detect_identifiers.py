"""A number of every kind that the rules know, behind its words where it needs them, and what is not one."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from services.detect import analyse, data_class
from services.detect.check_digits import CHECKS
from services.detect.rules import pattern_files, type_groups

# Made at random, with check digits put right.
NUMBERS = [
    ("aba_routing_number", "aba: ", "701772268"),
    ("ar_dni", "dni: ", "83.538.518"),
    ("at_social_security", "svnr: ", "2942 623526"),
    ("au_abn", "", "18 967 908 003"),
    ("au_acn", "acn: ", "907 938701"),
    ("au_medicare", "", "6411-27609-9 4"),
    ("au_tfn", "", "830 103 090"),
    ("be_national_number", "rijksregisternummer: ", "09066048017"),
    ("bg_egn", "", "6907045398"),
    ("br_cnpj", "", "86.102.716/2055-15"),
    ("br_cpf", "", "11047398109"),
    ("ca_sin", "sin: ", "305974 982"),
    ("ch_ahv", "", "756 5675655762"),
    ("cl_rut", "", "9.467.622-3"),
    ("cn_resident_id", "", "212515195705194470"),
    ("co_cedula", "documento de identidad: ", "139.448963.801"),
    ("credit_card", "", "5334 7931 6652-9509"),
    ("crypto_address", "", "0X8C2364B426A0A19C0052BA3BB951670E0BC5C19F"),
    ("cz_birth_number", "", "371109/264"),
    ("de_fuehrerschein", "", "LI08602874O"),
    ("de_handelsregister", "", "HRB4"),
    ("de_health_insurance", "", "J469267812"),
    ("de_id_card", "", "T7N4795H1"),
    ("de_kfz", "kennzeichen: ", "V-T63H"),
    ("de_lanr", "lanr: ", "388705691"),
    ("de_passport", "", "J433XYZ52"),
    ("de_plz", "plz: ", "01094"),
    ("de_social_security", "", "98051165 Y 657"),
    ("de_tax_id", "", "14 275 262 985"),
    ("de_tax_number", "", "95/595/39905"),
    ("de_vat_id", "", "DE185349.614"),
    ("dea_number", "dea: ", "HZ3389512"),
    ("dk_cpr", "", "020301-2558"),
    ("do_cedula", "", "980-9837765-2"),
    ("driver_license", "permis de conduire: ", "6EOHB"),
    ("ec_cedula", "ci: ", "1942469469"),
    ("ee_isikukood", "", "26403312093"),
    ("eg_national_id", "national id: ", "27814241027919"),
    ("email", "", "BA.C@2K.JGG"),
    ("es_dni", "", "63615175-G"),
    ("es_nie", "", "Z 2866965-C"),
    ("es_passport", "", "MXM538563"),
    ("eu_vat_id", "", "PT682185973"),
    ("fi_hetu", "", "110882-796C"),
    ("fr_nir", "", "4 91 862A 285669 80"),
    ("fr_siret", "siret: ", "701509 986"),
    ("gr_amka", "amka: ", "11120951089"),
    ("hk_identity_card", "", "QX989994(1)"),
    ("hr_oib", "oib: ", "24267905749"),
    ("id_nik", "nik: ", "2174802604988944"),
    ("identity_card", "ausweisnummer: ", "09TJIQ894J"),
    ("ie_pps", "", "7612561P"),
    ("il_identity_number", "teudat zehut: ", "518599857"),
    ("in_aadhaar", "aadhaar: ", "9829-3798-6723"),
    ("in_gstin", "", "06WTFRI2507YJZE"),
    ("in_pan", "", "ZBUTQ4644J"),
    ("in_passport", "", "D9918324"),
    ("in_vehicle_registration", "", "TS 06-FU8358"),
    ("in_voter", "", "LBJ4846184"),
    ("ip_address", "", "9.82.50.7"),
    ("is_kennitala", "kennitala: ", "410156-6360"),
    ("it_codice_fiscale", "", "JQIISVV6M11W0RMI"),
    ("it_driver_license", "", "VG1953578C"),
    ("it_identity_card", "", "4820173DQ"),
    ("it_vat_code", "partita iva: ", "07229280107"),
    ("jp_my_number", "my number: ", "2282 8298 8390"),
    ("kr_brn", "", "748-97-10311"),
    ("kr_driver_license", "", "21-44-838768-03"),
    ("kr_frn", "", "580205-5288964"),
    ("kr_passport", "", "D862D4454"),
    ("kr_rrn", "", "350309-2822562"),
    ("lt_asmens", "asmens kodas: ", "39010232749"),
    ("lv_personas_kods", "personas kods: ", "480916-04485"),
    ("mac_address", "", "18B0.9BC5.A811"),
    ("mx_curp", "", "CICM930422MCSLYG28"),
    ("mx_rfc", "", "XCNC6511235XA"),
    ("my_nric", "", "400512-55-9681"),
    ("ng_nin", "nin: ", "76879342049"),
    ("ng_vehicle_registration", "", "WKL 046 TY"),
    ("no_fodselsnummer", "", "050852 13522"),
    ("nz_ird", "ird: ", "26134-633"),
    ("passport", "passeport: ", "B77O65O48"),
    ("pe_dni", "dni: ", "430082669"),
    ("ph_tin", "tin: ", "185-053119-04301"),
    ("phone", "", "375 869 3952"),
    ("pk_cnic", "", "47186-9305343-2"),
    ("pl_pesel", "", "90302906663"),
    ("pt_citizen_card", "cc: ", "832555554KP0"),
    ("pt_nif", "nif: ", "338178 082"),
    ("ro_cnp", "", "7030201094811"),
    ("ru_inn", "inn: ", "307673054272"),
    ("se_organisationsnummer", "", "778150-6741"),
    ("se_personnummer", "", "19350426-4965"),
    ("sg_nric_fin", "", "M3982685W"),
    ("sg_uen", "", "58984499K"),
    ("th_tnin", "", "4-35575539590 0"),
    ("tr_license_plate", "", "09 F 2182"),
    ("tr_national_id", "", "98881376550"),
    ("tw_identity_card", "", "W157120510"),
    ("ua_tax_id", "rntrc: ", "3503722799"),
    ("uk_driving_licence", "", "FCD99406113TSLMZ"),
    ("uk_nhs_number", "", "384 874 7812"),
    ("uk_nino", "", "PJ43 4470 B"),
    ("uk_passport", "", "UW7750965"),
    ("uk_postcode", "", "GIR 0AA"),
    ("uk_utr", "utr: ", "27410 09799"),
    ("uk_vehicle_registration", "reg: ", "ED09 KNO"),
    ("us_bank_number", "acct: ", "04182271"),
    ("us_driver_license", "dl: ", "6845820"),
    ("us_ein", "ein: ", "26-3003874"),
    ("us_itin", "", "982785388"),
    ("us_mbi", "", "9PJ1PJ5ED27"),
    ("us_npi", "npi: ", "1780088-070"),
    ("us_passport", "", "T99761252"),
    ("us_ssn", "", "715-43-2015"),
    ("uy_cedula", "", "6.357.700-4"),
    ("vehicle_identification_number", "", "S898MF1D21P041110"),
    ("yu_jmbg", "jmbg: ", "0109276065396"),
    ("za_id_number", "", "2401089281156"),
]
ELSEWHERE = {
    *("address", "contract", "date", "date_of_birth", "diagnosis", "health_plan_number", "iban", "internal_document"),
    *("location", "medical_record_number", "nl_bsn", "person", "region", "source_code", "url"),
    *("fr_tax_id", "si_emso", "ve_cedula"),  # no random one passed its check
}
# Numbers of persons whose last digit or letter follows from the others.
CHECKED = [
    number
    for number in NUMBERS
    if number[0]
    in {
        *("at_social_security", "au_tfn", "be_national_number", "bg_egn", "br_cpf", "ca_sin", "ch_ahv", "cl_rut"),
        *("cn_resident_id", "de_tax_id", "do_cedula", "ec_cedula", "ee_isikukood", "es_dni", "es_nie", "fi_hetu"),
        *("fr_nir", "gr_amka", "hk_identity_card", "hr_oib", "ie_pps", "il_identity_number"),
        *("is_kennitala", "it_codice_fiscale", "jp_my_number", "lt_asmens", "mx_curp", "no_fodselsnummer", "nz_ird"),
        *("pl_pesel", "pt_nif", "ro_cnp", "ru_inn", "se_personnummer", "sg_nric_fin", "th_tnin", "tr_national_id"),
        *("tw_identity_card", "ua_tax_id", "uk_nhs_number", "uk_utr", "yu_jmbg", "za_id_number"),
    }
] + [("in_aadhaar", "", "2341 2341 2346")]
PERSONAL = [type_ for type_, group in type_groups().items() if group == "personal"]
NATIONS = {type_[:2] for type_ in PERSONAL if type_[2:3] == "_"}


@pytest.mark.parametrize(("type_", "words", "value"), NUMBERS)
def test_a_number_is_found_where_it_stands(type_: str, words: str, value: str) -> None:
    text = words + value
    found = [(finding.type, text[finding.start : finding.end]) for finding in analyse(text).findings]
    assert (type_, value) in found


def test_every_type_has_an_example() -> None:
    credentials = {type_ for type_, group in type_groups().items() if group == "credential"}
    assert {type_ for type_, _, _ in NUMBERS} | ELSEWHERE | credentials == set(type_groups())


def test_numbers_of_persons_come_from_at_least_twenty_five_nations() -> None:
    assert len(NATIONS) >= 25


def spoiled(value: str) -> Iterator[str]:
    """Yield a number with each of its digits exchanged for the next, the last digit first."""
    for at in reversed(range(len(value))):
        if value[at] in "0123456789":
            yield f"{value[:at]}{(int(value[at]) + 1) % 10}{value[at + 1 :]}"


@pytest.mark.parametrize(("type_", "words", "value"), CHECKED)
def test_a_number_with_a_wrong_check_digit_is_none(type_: str, words: str, value: str) -> None:
    def found(number: str) -> bool:
        return type_ in {finding.type for finding in analyse(f"see {words}{number}, please").findings}

    assert found(value)
    assert not found(next(spoiled(value)))
    # Whatever the digit, all but a few of the wrong numbers are seen to be wrong.
    wrong = list(spoiled(value))
    assert sum(map(found, wrong)) <= len(wrong) // 5


def test_check_digits_of_at_least_twenty_five_nations_are_held_to() -> None:
    assert len({type_[:2] for type_, _, _ in CHECKED}) >= 25


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_a_check_refuses_most_of_what_is_random(name: str) -> None:
    if name in {"condition", "mac_address", "uk_plate", "private_key"}:
        return  # these refuse exceptions
    pick = random.Random(5)
    tried = ["".join(pick.choices("0123456789ABCX", k=length)) for length in range(5, 20) for _ in range(40)]
    assert sum(map(CHECKS[name], tried)) < 0.2 * len(tried)


def test_what_needs_words_is_left_alone_without_them() -> None:
    text = "We sold 123456789 and 2123456701 pieces, order AB1234567, part C01X00T41, lot 36574261809X."
    assert [found.type for found in analyse(text).findings if type_groups()[found.type] != "business"] == []


def test_a_lone_code_does_not_raise_the_class() -> None:
    # Else more text around it would lower the data class.
    alone = {p.type for file in pattern_files() for p in file.patterns if p.alone and not p.words}
    for type_ in alone:
        assert data_class([type_], "public", truncated=False) == "public"


def test_a_lone_code_and_a_person_are_confidential() -> None:
    assert data_class(["person", "uk_passport"], None, truncated=False) == "confidential"


@pytest.mark.parametrize(
    "text",
    [
        "My name is Vukasin Petrovic.",
        "Dr. Lindqvist will see you now",
        "Call Maria Schneider about the car",
        "Regards,\nJuan de la Cruz",
        "Sarah P., 44 years old",
    ],
)
def test_a_person_is_found(text: str) -> None:
    assert "person" in {found.type for found in analyse(text).findings}


@pytest.mark.parametrize(
    "text",
    [
        "Please Review The Following Document Before Monday",
        "Alzheimer's disease and Hodgkin lymphoma are unlike Crohn's disease.",
        "The Framingham risk score in Type 2 Diabetes",
        "Johnson Street leads to Kennedy Airport",
    ],
)
def test_nobody_is_found(text: str) -> None:
    assert "person" not in {found.type for found in analyse(text).findings}


@pytest.mark.parametrize(
    ("text", "value", "type_"),
    [
        ("We live at 48 Harrow Lane, Springfield, IL 62704.", "48 Harrow Lane, Springfield, IL 62704", "address"),
        ("Sie wohnt in der Lindenstraße 17, 50674 Köln.", "Lindenstraße 17, 50674 Köln", "address"),
        ("J'habite 12 rue de la Paix, 75002 Paris", "12 rue de la Paix, 75002 Paris", "address"),
        ("admitted to Lakeside Community Hospital on Monday", "Lakeside Community Hospital", "location"),
        ("She moved to Lisbon last year", "Lisbon", "location"),
        ("It is made in Portugal", "Portugal", "region"),
        ("on the 3rd of March 2021,", "3rd of March 2021", "date"),
        ("am 24. Dezember 2019", "24. Dezember 2019", "date"),
        ("el 5 de mayo de 2020", "5 de mayo de 2020", "date"),
        ("see https://example.com/a?b=c.", "https://example.com/a?b=c", "url"),
    ],
)
def test_places_and_dates(text: str, value: str, type_: str) -> None:
    assert value in [text[found.start : found.end] for found in analyse(text).findings if found.type == type_]


def test_a_diagnosis_counts_next_to_somebody_only() -> None:
    def types(text: str) -> set[str]:
        return {found.type for found in analyse(text).findings}

    assert types("What helps against diabetes and arthritis?") == set()
    assert "diagnosis" in types("John Smith has diabetes.")
    assert "diagnosis" not in types("John Smith called. " + "It rained all day long. " * 30 + "What is diabetes?")
    assert data_class(types("John Smith has diabetes."), None, truncated=False) == "regulated"


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("This agreement is made between the seller and the buyer.", "contract"),
        ("Vertrag zwischen der Alpha GmbH und der Beta AG", "contract"),
        ("ACME — INTERNAL USE ONLY — roadmap", "internal_document"),
        ("Streng vertraulich: Budget", "internal_document"),
        ("def total(values):\n    return sum(values)\n", "source_code"),
    ],
)
def test_kinds_of_documents(text: str, type_: str) -> None:
    assert type_ in {found.type for found in analyse(text).findings}


@pytest.mark.parametrize(
    ("text", "type_", "value"),
    [
        *(
            ("Geburtsdatum: 12.03.1980", "date_of_birth", "12.03.1980"),
            ("née le 12/03/1980", "date_of_birth", "12/03/1980"),
        ),
        *(
            ("nacida el 12/03/1980", "date_of_birth", "12/03/1980"),
            ("nato il 12/03/1980", "date_of_birth", "12/03/1980"),
        ),
        *(
            ("Geboortedatum: 12-03-1980", "date_of_birth", "12-03-1980"),
            ("nascido em 12/03/1980", "date_of_birth", "12/03/1980"),
        ),
        *(
            ("Kontonummer 1234567890", "us_bank_number", "1234567890"),
            ("numéro de compte 12345678901", "us_bank_number", "12345678901"),
        ),
        *(
            ("número de cuenta: 12345678901", "us_bank_number", "12345678901"),
            ("numero di conto 12345678901", "us_bank_number", "12345678901"),
        ),
        *(
            ("rekeningnummer 1234567890", "us_bank_number", "1234567890"),
            ("número da conta 1234567890", "us_bank_number", "1234567890"),
        ),
        *(("Reisepass C01X00T47", "passport", "C01X00T47"), ("numéro de passeport 12AB34567", "passport", "12AB34567")),
        *(("pasaporte ABC123456", "passport", "ABC123456"), ("passaporto YA1234567", "passport", "YA1234567")),
        *(("paspoort NX1234567", "passport", "NX1234567"), ("passaporte AB123456", "passport", "AB123456")),
        *(
            ("Führerschein: B072RRE2I55", "driver_license", "B072RRE2I55"),
            ("permis de conduire 123456789012", "driver_license", "123456789012"),
        ),
        *(
            ("licencia de conducir 12345678", "driver_license", "12345678"),
            ("patente AB1234567C", "driver_license", "AB1234567C"),
        ),
        *(
            ("rijbewijs 1234567890", "driver_license", "1234567890"),
            ("carteira de motorista 12345678901", "driver_license", "12345678901"),
        ),
        *(
            ("Das Passwort lautet Sommer!2024x", "secret_assignment", "Sommer!2024x"),
            ("Le mot de passe est Soleil!2024", "secret_assignment", "Soleil!2024"),
        ),
        *(
            ("La contraseña es Verano!2024", "secret_assignment", "Verano!2024"),
            ("La password è Estate!2024", "secret_assignment", "Estate!2024"),
        ),
        *(
            ("Het wachtwoord is Zomer!2024", "secret_assignment", "Zomer!2024"),
            ("A senha é Verao!2024", "secret_assignment", "Verao!2024"),
        ),
        *(
            ("Patientennummer 123456", "medical_record_number", "123456"),
            ("historia clínica 123456", "medical_record_number", "123456"),
        ),
        *(
            ("cartella clinica 123456", "medical_record_number", "123456"),
            ("patiëntnummer 123456", "medical_record_number", "123456"),
        ),
        *(("móvil 612 34 56 78", "phone", "612 34 56 78"), ("telemóvel 912 345 678", "phone", "912 345 678")),
    ],
)
def test_words_of_other_languages_say_what_a_number_is(text: str, type_: str, value: str) -> None:
    assert (type_, value) in [(found.type, text[found.start : found.end]) for found in analyse(text).findings]


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        *(
            ("Die Patientin fragt nach der Behandlung ihrer Krankheit.", "medical"),
            ("La patiente suit un traitement.", "medical"),
        ),
        *(("El paciente pregunta por su tratamiento.", "medical"), ("Il paziente assume un farmaco.", "medical")),
        *(
            ("De patiënten krijgen een behandeling voor hun ziekte.", "medical"),
            ("Die Klage liegt beim Gericht.", "legal"),
        ),
        *(("Le tribunal a jugé le contrat nul.", "legal"), ("El juzgado anuló el contrato.", "legal")),
        *(("Il tribunale ha annullato il contratto.", "legal"), ("De rechtbank vernietigde de overeenkomst.", "legal")),
        *(("Die Überweisung von meinem Konto fehlt.", "finance"), ("Le virement sur mon compte manque.", "finance")),
        *(("La transferencia a mi cuenta no llegó.", "finance"), ("Il bonifico sul mio conto manca.", "finance")),
        *(("De hypotheek bij mijn rekening is hoog.", "finance"),),
    ],
)
def test_domains_are_told_in_other_languages(text: str, domain: str) -> None:
    assert domain in analyse(text).domains
