"""What the labelled data calls the types of findings, and what ``services.detect`` does."""

from __future__ import annotations

from services.detect.rules import type_groups

CREDENTIALS = frozenset(type_ for type_, group in type_groups().items() if group == "credential")

_DATES = {"date", "date_of_birth"}
_SAME = (
    "aba_routing_number au_abn au_acn au_medicare au_tfn ca_sin credit_card de_fuehrerschein de_handelsregister "
    "de_health_insurance de_id_card de_kfz de_lanr de_passport de_plz de_social_security de_tax_id de_tax_number "
    "de_vat_id es_passport in_aadhaar in_gstin in_passport in_vehicle_registration it_driver_license it_vat_code kr_brn "
    "kr_driver_license kr_frn kr_passport kr_rrn mac_address ng_nin ng_vehicle_registration ph_tin pl_pesel "
    "se_organisationsnummer se_personnummer sg_nric_fin sg_uen th_tnin tr_license_plate tr_national_id "
    "uk_driving_licence uk_passport uk_postcode uk_vehicle_registration url us_bank_number us_itin us_mbi "
    "us_npi us_passport us_ssn za_id_number medical_record_number ip_address uk_nino us_driver_license in_pan in_voter"
).split()

FINDING_TYPES: dict[str, set[str]] = {name.upper(): {name} for name in _SAME} | {
    "EMAIL_ADDRESS": {"email"},
    "PHONE_NUMBER": {"phone"},
    "FAX_NUMBER": {"phone"},
    "PH_MOBILE_NUMBER": {"phone"},
    "TR_PHONE_NUMBER": {"phone"},
    "IBAN_CODE": {"iban"},
    "CRYPTO": {"crypto_address"},
    "PERSON": {"person"},
    "NAME": {"person"},
    "STREET_ADDRESS": {"address"},
    "GPE": {"location", "region"},
    "GEOGRAPHIC_LOCATION": {"location", "address"},
    "DATE_TIME": _DATES,
    "DATE": _DATES,
    "ES_NIF": {"es_dni"},
    "ES_NIE": {"es_nie"},
    "FI_PERSONAL_IDENTITY_CODE": {"fi_hetu"},
    "IT_FISCAL_CODE": {"it_codice_fiscale"},
    "UK_NHS": {"uk_nhs_number"},
    "HEALTH_PLAN_BENEFICIARY_NUMBER": {"health_plan_number"},
    "SOCIAL_SECURITY_NUMBER": {"us_ssn"},
}

# Whatever of these stands in a clinical text makes it one about a person.
PHI_TYPES = frozenset(type_ for types in FINDING_TYPES.values() for type_ in types) - {"url", "region"}
