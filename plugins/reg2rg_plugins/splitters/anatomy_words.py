"""Words of a chest-CT report that tell the region a sentence is about, with weights: data alone.

Weights: 1 is a hint, 2 a finding of the organ, 3 the organ where other organs share the word, 4 and more the organ itself (more
where its sentences also carry the words of another, as "right lobe of the liver" does). Where sums are equal, the earlier
region of `PRIORITY` wins. `*` stands for any ending. The regions are used as RadGenome-ChestCT uses them: what is "subpleural"
is the pleura's there, a bronchiectasis the lung's, a lymph node the mediastinum's, unless it lies at the lung's hilum.
"""

from __future__ import annotations

from typing import NamedTuple

PRIORITY = (
    "thyroid", "breast", "esophagus", "trachea and bronchie", "heart", "pleura", "bone", "abdomen", "mediastinum", "lung",
)  # fmt: skip

WORDS: dict[str, dict[int, str]] = {
    "abdomen": {
        9: "adnexa*, adrenal*, angiomyolip*, aortocaval, appendi*, ascites, bile, bile duct*, biliary, bladder, "
        "bochdalek, bosniak, bowel*, caecum, calyceal, calyces, calyx, caudate, cecum, celiac, chilaiditi*, "
        "cholang*, cholecyst*, choledoch*, cholelith*, coeliac, colectom*, colon*, colostom*, crura, crus, cystic "
        "duct, duoden*, endometri*, epigastr*, eventrat*, extrahepat*, falciform, gall bladder*, gallbladder*, "
        "gallstone*, gastrectom*, gastric, gastrostom*, hepat*, hydronephro*, hypochondri*, ileal, ileostom*, "
        "ileum, infradiaphragm*, infrarenal, inguinal, interaortocaval, intestin*, intrahepat*, intraperitone*, "
        "jejun*, kidney*, liver, mesenter*, morgagni, nephrectom*, nephro*, oment*, ovar*, pancrea*, paracaval, "
        "parapelvic, paravesical, pelvic, pelvicalic*, pelvis, pericholecyst*, perigastric, perinephric, "
        "peripancrea*, peripelvic, periportal, periprostat*, perisplen*, peritone*, perivesical, portacaval, "
        "portal, portocaval, prostat*, psoas, pyelo*, rectal, rectosigmoid, rectum, renal*, retrocaval, "
        "retroperiton*, seminal, sigmoid, sludge, spleen*, splen*, stomach, subhepat*, subphrenic, suprarenal*, "
        "surrenal*, transhepat*, umbilic*, urach*, ureter*, uterine, uterus, vagin*, wirsung",
        7: "abdom*, intra-abdom*, intraabdom*, pararenal*, perihepat*, perirenal*",
        5: "diaphragm*, hemidiaphragm*, segment 1, segment 2, segment 3, segment 4, segment 4a, segment 4b, segment "
        "5, segment 6, segment 7, segment 8, subdiaphragm*",
        3: "adenoma*, cortical cyst*, diverticul*, fatty infiltration, gastrointestinal, ileus, lithias*, lower "
        "pole, mid pole, middle pole, retrocrural, sleeve, solid organ, solid organs, space occupying, "
        "space-occupying, steatosis, upper pole, varices",
        2: "anastomos*, calculi, calculus, exophytic, free air, free fluid, hypodens*, iliac, loculated fluid, "
        "stone, stones",
        1: "cyst*, fat planes, fatty planes, sonograph*, ultraso*, usg",
    },
    "bone": {
        5: "acromi*, ankylos*, bone*, bony, clavic*, coccy*, corpus, costa*, costochond*, costovertebral, "
        "degenerat*, disc, discs, dish, dorsolumbar, enchondro*, end plate, end plates, endplate, endplates, "
        "exosto*, facet*, femoral head*, femur, fractur*, glenohumeral, hemangioma*, humer*, hyperkypho*, "
        "hyperost*, iliac wing, intervertebra*, kypho*, lordo*, manubri*, medulla*, neural foramina, osteo*, "
        "pectus, pedicle*, periost*, rib, ribs, rotoscolio*, sacr*, scapula*, schmorl*, scolio*, shoulder*, "
        "skelet*, spinal, spine, spinous, spondyl*, spur, spurs, stern*, sternocost*, sternotom*, syndesmo*, "
        "thoracolumbar, transpedicul*, vertebra*, xiphoid*",
        3: "arthro*, bridging, callus, height loss, height losses, joint, joints, loss of height, screw, screws, "
        "transverse process*, vertebral column",
        2: "cervical, destructive, lumbar, lytic, myeloma, paravertebral, sclero*, thoracic kyphosis",
    },
    "breast": {
        9: "areola*, breast, breasts, fibroadenom*, fibroglandular, gynecomast*, lumpectom*, mamm*, mastectom*, "
        "nipple*, retroareolar, retropectoral, silicone",
        2: "implant, implants, pectoral*, prostheses, prosthesis, prosthetic",
    },
    "esophagus": {
        10: "esophag*, esophagogastric, gastroesophag*, hiatal, hiatal hernia*, hiatus, hiatus hernia*, oesophag*, "
        "paraesophag*, periesophag*, retroesophag*, sliding hernia*, sliding type*",
        6: "achalasia",
        4: "nasogastric",
    },
    "heart": {
        9: "dextrocard*, endocardi*, epicardi*, hemopericard*, hydropericard*, intracardi*, myocardi*, "
        "pneumopericard*",
        5: "aortic root, ascending aorta, atri*, biatri*, biventric*, cardi*, circumflex, coronar*, cto, ctr, heart, "
        "interatri*, interventric*, lad, mitral, pacemaker*, percardi*, pericard*, precardiac, rca, tricuspid, "
        "valv*, ventric*",
        2: "appendage, bypass, lead, leads, septum",
    },
    "lung": {
        6: "bronchogram*, lung edema, lung oedema, pulmonary edema, pulmonary oedema",
        5: "hila, hilar, hilum, hilus, parahilar, perihilar",
        4: "air cyst*, air space, air trapping, airspace, crazy paving, interstiti*, intrapulmon*, small airway*, "
        "small vessel disease",
        3: "acinar, alveol*, apex, apical, fissur*, lingula*, lobar, lobe, lobectom*, lobes, lung, lungs, "
        "parenchym*, perifissur*, segment, segmentectom*, segments",
        2: "aeration, aspirat*, atelecta*, bacteri*, bleb*, bronchectas*, bronchiectas*, bronchiectat*, "
        "bronchiolit*, bronchopneumon*, bronchovascular, bud*, bulla*, cavern*, cavit*, centriacinar, "
        "centrilobular, consolid*, covid*, emphysem*, expirat*, fibro*, fung*, glass, ground glass, ground-glass, "
        "halo, hamartom*, honeycomb*, hyperinfl*, infect*, infective, infiltrat*, inspirat*, interlobular, "
        "intralobular, micronodul*, mosaic, mycet*, nodul*, opacif*, opacit*, panlobular, paraseptal, "
        "peribronch*, peribronchovascular, pleuroparenchym*, pneumatoc*, pneumon*, reticul*, septal, sequela*, "
        "spicul*, tubercul*, ventilat*, viral, virus*, zone, zones",
        1: "abscess*, densit*, dependent, follow-up, granulom*, laborator*, lesion, lesions, mass, metasta*, "
        "nonspecific, pulmonary, respiratory, scar, scars, stable",
    },
    "mediastinum": {
        4: "aort*, aorticopulmonary, aortopulmonary, axilla*, brachiocephal*, great vessel*, ivc, lap, laps, lymph*, "
        "main vascular, mediastin*, paraaort*, paratracheal, pneumomediast*, prevascular, pulmonary arter*, "
        "pulmonary conus, pulmonary trunk, pulmonary vein*, subcarinal, supraclavicular, svc, thymic, thymus, "
        "truncus, vascular structures, vena cava",
        2: "aneurysm*, arter*, atherom*, atheroscl*, azygos, carotid, catheter*, dissection, embol*, "
        "infraclavicular, jugular, port, retrosternal, short axis, short diameter, subclavian, thrombosis, "
        "thrombus, trunk, vascular",
        1: "contrast, noncontrast, plaque, plaques, unenhanced",
    },
    "pleura": {
        24: "subpleural*",
        14: "pleural base, pleural based, pleural effusion*, pleural fluid, pleural-based",
        6: "bronchopleural, chylothora*, costophrenic, empyema, extrapleural, fibrothora*, hemothora*, "
        "hydropneumothora*, hydrothora*, juxtapleural, mesotheliom*, pleura, pleural, pleurect*, pleurisy, "
        "pleurodes*, pneumothora*, pyothora*",
        4: "chest tube*, effusion*, hemithora*, plastering, thoracentesis",
        2: "drain, drainage",
    },
    "thyroid": {
        14: "goit*, isthmus, parathyroid*, thyroid*, thyromegal*",
    },
    "trachea and bronchie": {
        5: "bronchial system, bronchial tree, carina, endobronch*, endotrache*, main bronch*, mainstem bronch*, "
        "peritrache*, trache*, tracheostom*",
        3: "bronchi, bronchial structures, bronchus, cannula*, intubat*",
        2: "airway, airways, bronchial, endolumin*, lumen, lumens, mucus, obstructive, occluding, occlusive, "
        "secretion*",
    },
}  # fmt: skip


class Shared(NamedTuple):
    """A structure that belongs to several regions: `words` name it, unless one of `unless` stands in the sentence too.

    `with_words`: one of these has to stand there as well ("" = none). `regions`: all that the sentence is about, best first.
    """

    words: str
    regions: tuple[str, ...]
    with_words: str = ""
    unless: str = ""


_NOT_THE_AORTA = (
    "aortic valve*, aortic root, lymph*, lap, laps, paraaort*, trache*, bronch*, lung, lungs, lobe, esophag*, vertebra*, "
    "thyroid*, liver, kidney*"
)  # valves are the heart's; the rest uses the vessel to say where something else lies

# The first that fits counts. The aorta runs through the mediastinum and the abdomen, and its first part leaves the heart.
SHARED = (
    Shared("aort*", ("mediastinum", "abdomen", "heart"), with_words="coronar*", unless=_NOT_THE_AORTA),
    Shared("descending aort*", ("mediastinum", "abdomen", "heart"), with_words="ascending", unless=_NOT_THE_AORTA),
    Shared("abdominal aort*", ("abdomen", "mediastinum"),
           unless=f"{_NOT_THE_AORTA}, aortic arch, arcus aort*, thoracic aort*, descending aort*, ascending aort*"),
    Shared("descending aort*, aortic arch, arcus aort*, abdominal aort*, thoracic aort*", ("mediastinum", "abdomen"),
           unless=_NOT_THE_AORTA),
    Shared("ascending aort*", ("heart", "mediastinum"), with_words="pulmonary arter*, pulmonary trunk, pulmonary conus",
           unless=_NOT_THE_AORTA),
    Shared("aort*, supraaortic", ("mediastinum", "abdomen"), unless=f"{_NOT_THE_AORTA}, ascending aort*, mediastin*, cardi*"),
    Shared("heart, cardi*, coronar*, atri*", ("mediastinum", "heart"),
           with_words="mediastinal structures, mediastinal vascular, mediastinal main vascular, "
           "mediastinal major vascular, mediastinal great vessels, vena cava, great vessels",
           unless="lymph*, effusion*, pericard*"),
    Shared("vascular structures", ("heart", "mediastinum"), with_words="heart, cardi*", unless="lymph*, effusion*, pericard*"),
    Shared("sternum, sternal", ("bone", "mediastinum"), with_words="anterior mediastin*"),
)  # fmt: skip
